"""Configuration of each process, in frozen sections by concern.

`variables` declares, `sources` looks values up, `reading` builds sections, and `processes` says
which process reads which section.
"""
