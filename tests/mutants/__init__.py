"""Every promise has a mechanism; here each mechanism is taken out once, and a test must notice."""
