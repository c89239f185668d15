"""Networks trained elsewhere, from NIR graphs and state dicts, as networks that memory cells can hold."""
