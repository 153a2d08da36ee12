"""What a recipe will measure, told from its structure and from what was measured here before: nothing is lowered.

`structure` carries a recipe out on tensors without numbers, `pieces` counts what the result computes and stores,
`history` keeps that of everything measured, `posterior` learns from it what each piece takes, and `foresight` puts
these together and says which limits are out of reach, which are kept for sure, and which are in doubt.
"""
