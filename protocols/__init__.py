if __name__ != "quest_lab.protocols":  # one module, one name: `import protocols` would load everything twice
    raise ImportError("import quest_lab.protocols instead of protocols")
