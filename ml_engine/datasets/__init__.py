"""Labelled pictures: reading and writing them."""
