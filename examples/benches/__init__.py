if __name__ != "quest_lab.example_benches":  # one module, one name, as the other top folders
    raise ImportError("import quest_lab.example_benches instead of benches")
