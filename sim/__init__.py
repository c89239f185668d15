if __name__ != "quest_lab.sim":  # one module, one name: `import sim` would load everything twice
    raise ImportError("import quest_lab.sim instead of sim")
