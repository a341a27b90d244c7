"""The two numbers at which the noise-only map of `nin.theory.noise_map` changes its ways.

They are apart from it for those who need no more of the theory: SymPy takes a second to import.
"""

LAMBDA_DIV = 4
"""Above this lambda the map diverges, below it converges."""
GROWTH = 2
"""A weight grows at first where a^2 or b^2 of the other is above this."""
