# %% [markdown]
# # 9 · Grad-CAM by hand
#
# **Mattered**: which region made the network say this class? · about 15 minutes · needs [lesson 4](lesson:4)
#
# You will
#
# - compute a class activation map with pencil and paper, on four places and three channels;
# - watch the same steps on a real network, with every number;
# - ask for two classes on one picture, and see what changes and what does not;
# - find out which layer to take, and where the method ends.

# %%
import torch

import tapetum as tp
from tapetum.course import start

here = start(9)
model = here.model()
left, right = (model.preprocess(here.picture(name)) for name in ("cat", "coffee"))
first, second = (tp.predict(model, half)[0][0].index for half in (left, right))

# %% [markdown]
# ## With pencil and paper
#
# Somewhere inside the network a layer has turned the picture into *channels*: small maps of where something was found. Suppose
# there are three channels of 2 × 2 places. And suppose we know how much each channel raises the score of a class: its *weight*.
# [Grad-CAM](bib:selvaraju2017gradcam) multiplies each map by its weight, adds the maps, and sets what is negative to zero.
#
# **Predict.** The weights are 0.8, 0.1 and 0.5. Which of the four places will be the brightest?
#
# <details><summary>Answer</summary>
#
# The lower right: $0.8 \cdot 2 + 0.1 \cdot 0 + 0.5 \cdot 1 = 2.1$. The second channel has the highest peak of all, 3 at the
# upper right, but its weight is so small that it adds only 0.3.
#
# </details>

# %%
maps = [
    [[1, 0], [0, 2]],  # channel 0: say, "fur"
    [[0, 3], [1, 0]],  # channel 1: "shiny metal"
    [[2, 0], [0, 1]],  # channel 2: "pointed ear"
]
by_hand = tp.grad_cam_by_hand(maps, [0.8, 0.1, 0.5], names="cat")
print(by_hand)
tp.show(by_hand)

# %%
sums = torch.tensor([[1.8, 0.3], [0.1, 2.1]], dtype=torch.float64)
here.holds(
    torch.allclose(by_hand.total[0, 0], sums), "the four sums are 1.8, 0.3, 0.1, 2.1"
)

# %% [markdown]
# Another class has other weights. For a toaster, fur speaks *against* it: a negative weight. The channels stay what they are.

# %%
both = tp.grad_cam_by_hand(
    maps, [[0.8, 0.1, 0.5], [-0.6, 0.9, 0.1]], names=["cat", "toaster"]
)
tp.show(both)

# %%
here.holds(float(both.total[0, 1].min()) < 0, "two places speak against the toaster")
here.holds(
    float(both.positive[0, 1].min()) == 0,
    "the ReLU shows them as 0, like places that say nothing",
)

# %% [markdown]
# ## On the network
#
# Where do the weights come from? From gradients: how much does the score $S$ change when channel $k$ changes at a place? The
# mean of that over all places is the weight $a_k$. [tp.grad_cam_steps](api:grad_cam_steps) keeps all of it: here are the three
# channels that add most, and the sum of all the others.

# %%
steps = tp.grad_cam_steps(model, left, first, k=3)
print(*steps.notes, sep="\n")
tp.show(steps)

# %%
parts = steps.weighted.sum(2) + steps.rest
here.holds(
    torch.allclose(
        parts, steps.total, rtol=1e-3, atol=1e-4 * float(steps.total.abs().max())
    ),
    "the parts sum to the map",
)
here.holds(
    torch.allclose(steps.strengths, steps.gradients.mean((3, 4))),
    "the weights are the means of the gradients",
)
here.holds(
    float(steps.difference.max()) < 1e-3,
    "the sum is what tp.grad_cam gives, computed in another way",
)

# %% [markdown]
# ## Two classes on one picture
#
# Now a picture with two things in it: the middle of the one photograph beside the middle of the other.
#
# **Predict.** We ask for the class of the left thing, then for that of the right thing. Which of these differ between the two
# maps: the activations, the gradients, the weights?
#
# <details><summary>Answer</summary>
#
# Gradients and weights. The activations are computed before anybody says which class is meant. All that makes a Grad-CAM a map
# *of a class* are some hundred weights.
#
# </details>

# %%
quarter = left.shape[-1] // 4
mosaic = torch.cat([half[..., quarter : 3 * quarter] for half in (left, right)], 3)
two = tp.grad_cam_steps(model, mosaic, first, rival=second, k=2)
tp.show(two)


# %%
def on_the_left(heatmap):
    """The share of a map that lies on the left half of the picture."""
    return float(heatmap[..., : heatmap.shape[-1] // 2].sum() / heatmap.sum())


shares = [on_the_left(heatmap) for heatmap in two.heatmap[0]]
print(
    f"on the left half: {shares[0]:.0%} of the map of {two.targets[0][0]}, {shares[1]:.0%} of that of {two.targets[0][1]}"
)
here.see(
    shares[0] > 0.75 and shares[1] < 0.25, "each class has its map on its own half"
)

# %% [markdown]
# ## Which layer
#
# The last layer with a map knows most about classes, but its cells are large. An earlier layer is finer. Is it better?
#
# **Predict.** Grad-CAM for the left thing at an early, a middle and the last stage. On which will most of the map lie on the
# left half?
#
# <details><summary>Answer</summary>
#
# On the last one only. At an early layer the same channel ("an edge") helps at one place and hurts at another: one mean weight
# for all places cannot say that, and at the earliest nothing may be left above zero. [Layer-CAM](bib:jiang2021layercam) gives
# each place its own weight and stays usable early.
#
# </details>

# %%
layers = [found.layer for found in tp.activation_maps(model, mosaic)]
cams = [tp.grad_cam(model, mosaic, first, layer=layer) for layer in layers]
cams += [tp.layer_cam(model, mosaic, first, layer=layer) for layer in layers]
seen = model.denormalize(mosaic)
tp.show(cams, pixels=seen)

# %%
share = [on_the_left(cam.heatmap()) for cam in cams]
for cam, one in zip(cams, share, strict=True):
    found = f"{one:.0%} on the left" if cam.status[0] == "ok" else cam.status[0]
    print(
        f"{cam.method:<10} {cam.layer:<12} grid {tuple(cam.values.shape[-2:])}: {found}"
    )
here.see(
    share[2] > share[1],
    "Grad-CAM finds the left thing at the last layer, and not at the middle one",
)
here.see(
    share[4] > share[1],
    "at the middle layer Layer-CAM is more on the left than Grad-CAM",
)

# %% [markdown]
# Without `layer=` the library takes the last layer that looks at more than one place, and says so in `notes`.
#
# ## Its limits
#
# Three of them. *It is coarse*: you saw cells of a grid, and smooth edges that the upsampling made up. *It may have nothing to
# say*: if no place speaks for a class, the map is empty. Other libraries then draw a blank or a rescaled picture; here the
# result has a status. *It cannot tell close classes apart*: their weights are nearly the same.

# %%
ranked = tp.predict(model, left, k=100_000)[0]
runner_up, unlikely = ranked[1].index, ranked[-1].index
rather = tp.contrast(first, runner_up)
limits = [
    tp.grad_cam(model, left, target) for target in (first, runner_up, rather, unlikely)
]
tp.show(limits, pixels=model.denormalize(left))


# %%
def alike(a, b):
    """The correlation of two heatmaps: 1 the same, 0 unrelated."""
    pair = torch.stack([a.heatmap().flatten(), b.heatmap().flatten()])
    return float(torch.corrcoef(pair)[0, 1])


print([f"{cam.target[0]}: {cam.status[0]}" for cam in limits])
here.see(
    alike(*limits[:2]) > 0.85, "the two likeliest classes have nearly the same map"
)
here.see(
    alike(limits[0], limits[2]) < 0.5,
    "what makes it the one rather than the other lies elsewhere",
)
here.see(
    limits[3].status[0] == "no_positive_evidence",
    "for the least likely class no place speaks, and the result says so",
)

# %% [markdown]
# The contrast `tp.contrast(a, b)` explains the *difference* of two scores. If your question is "why this cat and not that cat",
# ask that question.
#
# ## Misconceptions
#
# **What people think:** Grad-CAM shows what the network looks at. **What is so:** it shows which cells of one layer raise one
# score. What lies before the layer may look at much more than the cell: see [lesson 6](lesson:6) for receptive fields.
#
# **What people think:** the soft outline follows the object. **What is so:** it is bilinear interpolation between a few cells.
#
# **What people think:** dark means unimportant. **What is so:** dark is zero *or negative*. Evidence against the class is
# hidden by the ReLU; `values` of the result keep its sign.
#
# **What people think:** a map can be laid over the photograph as it came from the camera. **What is so:** the network saw a
# resized and cropped picture. Lay the map over `model.denormalize(images)`, or it is shifted.
#
# ## Formulas
#
# The weight of channel $k$, with $S$ the score of the class, $A_k$ the channel's map and $h \times w$ its places:
#
# $$a_k = \frac{1}{h w} \sum_{y, x} \frac{\partial S}{\partial A_k(y, x)}$$
#
# The map, before and after the ReLU:
#
# $$L(y, x) = \sum_k a_k A_k(y, x), \qquad \text{heatmap} = \max(L, 0)$$
#
# Layer-CAM has a weight for each place: $\sum_k \max\left(\frac{\partial S}{\partial A_k(y, x)}, 0\right) A_k(y, x)$.
#
# ## On your own picture
#
# `tapetum lesson 9 --model resnet50 --image dog.jpg`, or only the steps with all numbers:
# `tapetum run grad_cam_steps dog.jpg --target "golden retriever" --rival "Labrador retriever"`. Do the two classes differ in
# their weights? Are the strongest channels the same?
#
# While `tapetum studio` runs, [both photographs with their Grad-CAM](studio:mattered?methods=grad_cam&pictures=cat,coffee)
# open in it.
#
# ## References
#
# - [Selvaraju et al. 2017](bib:selvaraju2017gradcam): Grad-CAM.
# - [Zhou et al. 2016](bib:zhou2016cam): CAM, where the weights are read off the last layer.
# - [Jiang et al. 2021](bib:jiang2021layercam): Layer-CAM.
