"""What is best: who beats whom, who wins by a rule, how good a front is, what limits cost, what steps give."""
