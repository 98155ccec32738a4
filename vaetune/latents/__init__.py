"""Looking at a latent space: pictures, an explorer for notebooks, and the same as one HTML file.

subject.py     Subject: a model with images to look at it with; everything here takes one
axes.py        directions to move along: latents by their KL, principal axes by their variance
grids.py       images to one picture, pictures to an animation
pictures.py    reconstructions, prior samples, classes, 2-D manifold, interpolations, transfers
traversals.py  one latent after the other, as a grid or moving
scatters.py    where the images lie: by class, as a matrix of pairs, over training
explorer.py    widgets for a notebook (needs vaetune[explorer])
page.py        explorer.html, which needs nothing but a browser
"""
