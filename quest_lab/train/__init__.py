"""The QUEST trainer. The only part of quest-lab that imports torch (extra `train`)."""
