"""What a person sees in a terminal: the view of a running search (`view` is what it knows, `drawing` how it looks,
`display` what hears of the search), and the tables of its trials, which `sheet` describes and the command line draws.
"""
