"""The mixing arithmetic of every method, in PyTorch.

A function takes a batch, what its method looks at (a gradient, features, attention) and the draws, and returns a
dictionary: `mixed`, the weight `lam` of the sample's own label (or `lam_a` and `lam_b`), and whatever else its golden
cases name. Nothing is drawn here.

Shapes: N pictures in a batch, K classes; a batch is [N, C, H, W]. A box is (row1, column1, row2, column2), half open.
`perm` [N] holds each sample's partner, and `lam` weighs the sample itself.
"""
