"""The commands as people write them: options and help only. A body is `run` in quest_lab/cli/<command>.py."""
