if __name__ != "quest_lab.instruments":  # one module, one name: `import instruments` would load it twice
    raise ImportError("import quest_lab.instruments instead of instruments")
