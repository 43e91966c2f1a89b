# %% [markdown]
# # 11 · Backprop rules, and what goes wrong without a word
#
# **Trust**: is this map about the decision, or about my code? · about 20 minutes · needs [lesson 8](lesson:8)
#
# You will
#
# - change what one ReLU does on the way back, and get three famous methods;
# - find out that the sharpest of them hardly knows the class;
# - follow a score that is conserved, layer by layer;
# - write a hook that fails silently, and collect other mistakes that give a picture but no answer.

# %%
import torch
import torch.nn.functional as F

import tapetum as tp
from tapetum.course import start

here = start(11)
model = here.model()
pixels = here.picture("cat")
try:
    tp.guided_backprop(model, model.preprocess(pixels))
except tp.TapetumError as refusal:  # a network without ReLUs has no such rules
    print(refusal, "- this lesson goes on with its own network", sep="\n")
    model = tp.load("efficientnet_lite0")
images = model.preprocess(pixels)
seen = model.denormalize(images)
k = tp.predict(model, images)[0][0].index

# %% [markdown]
# ## One ReLU, three ways back
#
# On the way forward a ReLU lets positive values $x$ pass. On the way back a signal $R$ arrives from above. The gradient passes
# it where $x > 0$. [Deconvnet](bib:zeiler2014deconvnet) passes it where $R > 0$. [Guided
# backprop](bib:springenberg2015guided) wants both. That one line is all the difference between the three.
#
# **Predict.** $x = (1, -1, 2, -2)$ and $R = (3, 3, -3, -3)$. Which values pass under each rule?
#
# <details><summary>Answer</summary>
#
# Gradient: $(3, 0, -3, 0)$. Deconvnet: $(3, 3, 0, 0)$. Guided: $(3, 0, 0, 0)$. Guided backprop never sends anything negative
# through a ReLU: what speaks against the class is dropped on the way.
#
# </details>

# %%
x, R = torch.tensor([1.0, -1.0, 2.0, -2.0]), torch.tensor([3.0, 3.0, -3.0, -3.0])
rules = {"gradient": x > 0, "deconvnet": R > 0, "guided": (R > 0) & (x > 0)}
for name, passes in rules.items():
    print(f"{name:<10}", R.where(passes, 0).tolist())
saliency, deconvnet, guided = (
    method(model, images, k)
    for method in (tp.saliency, tp.deconvnet, tp.guided_backprop)
)
tp.show([saliency, deconvnet, guided], pixels=seen)

# %% [markdown]
# The grid of deconvnet comes from the strides of this network: deconvnet knows the picture only through max-pooling, which
# remembers where its maxima were, and EfficientNet has none. Guided backprop is by far the sharpest. Is it the best
# explanation?
#
# ## Sharp, but about what?
#
# **Predict.** Now ask for a class that is certainly not in the picture. Whose map changes: that of guided backprop, or that of
# Grad-CAM?
#
# <details><summary>Answer</summary>
#
# Grad-CAM's changes altogether. The two maps of guided backprop have a correlation of more than 0.99: it draws the fine
# structure that excites the network, whatever you ask for.
#
# </details>

# %%
other = tp.predict(model, images, k=100_000)[0][-1].index
wrong_guided, wrong_cam = (
    tp.guided_backprop(model, images, other),
    tp.grad_cam(model, images, other),
)
cam = tp.grad_cam(model, images, k)
tp.show([guided, wrong_guided, cam, wrong_cam], pixels=seen)


# %%
def alike(a, b):
    """The correlation of two maps before any ReLU: 1 the same, 0 unrelated."""
    pair = torch.stack([a.ranking().flatten(), b.ranking().flatten()])
    return float(torch.corrcoef(pair)[0, 1])


print(
    f"the two classes: guided backprop {alike(guided, wrong_guided):.3f}, Grad-CAM {alike(cam, wrong_cam):.3f}"
)
here.see(
    alike(guided, wrong_guided) > 0.95,
    "guided backprop shows the same for a class that is not there",
)
here.see(alike(cam, wrong_cam) < 0.5, "Grad-CAM does not")

# %% [markdown]
# ## Replace the weights
#
# A harder test, from [Adebayo et al. 2018](bib:adebayo2018sanity): replace *all* weights by random ones. The network now knows
# nothing. A map of what it had learned must fall apart. A map that stays looks at the picture, like an edge detector.

# %%
untrained = tp.untrained(model, seed=0)
methods = (tp.saliency, tp.guided_backprop)
before = [method(model, images, k) for method in methods]
after = [method(untrained, images, k) for method in methods]
edges = tp.edge_attribution(model, images, k)
names = [
    "saliency",
    "guided",
    "edges of the picture",
    "saliency, random weights",
    "guided, random weights",
]
tp.show([*before, edges, *after], pixels=seen, names=names)

# %%
kept = [alike(a, b) for a, b in zip(before, after, strict=True)]
print(
    f"what is left with random weights: saliency {kept[0]:.2f}, guided backprop {kept[1]:.2f} (correlation)"
)
here.see(max(kept) < 0.5, "neither map of this network survives the test")
here.see(
    kept[1] > kept[0], "guided backprop keeps more of its map than the plain gradient"
)

# %% [markdown]
# So on this network guided backprop depends on the weights, but not on the class. Read it as "which details", never as "why
# this class".
#
# ## A score that is conserved: LRP
#
# Layer-wise relevance propagation ([Bach et al. 2015](bib:bach2015lrp)) sends the score itself back, not its slope. Each layer
# shares out what it has among its inputs, in proportion to what they contributed, and nothing may be lost or made.
#
# **Predict.** A network of convolutions and ReLUs *without biases*: what do the shares of all pixels sum to?
#
# <details><summary>Answer</summary>
#
# To the score, exactly. And with the plainest rule (`zero`) the shares are input times gradient. Biases take a part of the
# score that belongs to no pixel: with them the sum at the image is another, and the notes of the result say how much arrived.
#
# </details>


# %%
class Small(torch.nn.Module):
    """Two convolutions, no biases. Its ReLUs are modules, or function calls: the same network written in two ways."""

    def __init__(self, functional):
        super().__init__()
        self.one = torch.nn.Conv2d(3, 8, 7, padding=3, bias=False)
        self.two = torch.nn.Conv2d(8, 8, 7, padding=3, bias=False)
        self.last = torch.nn.Linear(8, 4, bias=False)
        self.relu = F.relu if functional else torch.nn.ReLU()

    def forward(self, images):
        maps = self.relu(self.two(self.relu(self.one(images))))
        return self.last(maps.mean((2, 3)))


def small(functional):
    """With random weights, always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Small(functional).eval()


# %%
colors = {"mean": model.preprocessing.mean, "std": model.preprocessing.std}
tiny = tp.wrap(small(functional=False), size=224, **colors)
picture = tiny.preprocess(pixels)
conserved = tp.lrp(tiny, picture, 0, composite="zero")
product = tp.input_x_gradient(tiny, picture, 0)
tp.show([conserved, product], pixels=tiny.denormalize(picture))

# %%
with torch.no_grad():
    total = float(tiny(picture)[0, 0])
print(f"score {total:.4f}, sum of the shares {float(conserved.values.sum()):.4f}")
here.holds(
    abs(float(conserved.values.sum()) - total) < 1e-3 * abs(total),
    "without biases the shares sum to the score",
)
size = float(product.values.abs().max())
here.holds(
    torch.allclose(conserved.values, product.values, atol=1e-3 * size),
    "and they are input times gradient",
)

# %% [markdown]
# On deep networks the plain rule is as noisy as the gradient, and other rules are used: `epsilon_plus` lets only positive
# contributions through in convolutions. Which rules were used belongs to the caption of every LRP picture.

# %%
relevance = {}
for composite in ("epsilon", "epsilon_plus", "epsilon_gamma_box"):
    try:
        relevance[composite] = tp.lrp(model, images, k, composite=composite)
    except tp.TapetumError as refusal:  # an operation without a rule: a gradient in its place would not be relevance
        print(refusal)
for composite, one in relevance.items():
    print(f"{composite}:", *one.notes)
tp.show(
    list(relevance.values()) or [saliency], pixels=seen, names=list(relevance) or None
)

# %% [markdown]
# ## A hook that sees nothing
#
# Most libraries change the rule with hooks on `nn.ReLU` modules. Here is that idea in a few lines. It works. Now write the
# same network with `F.relu`, which is no module.
#
# **Predict.** What does the hook give on the network with `F.relu`?
#
# <details><summary>Answer</summary>
#
# The plain gradient: there is no module to hook. No error, no warning, a picture like any other. The rules of this library
# follow the operations themselves, so both ways of writing give the same map; and a network without any ReLU is refused.
#
# </details>


# %%
def guided_by_hooks(network, images, k):
    """Guided backprop as it is usually written: a hook on every nn.ReLU."""
    relus = [part for part in network.modules() if isinstance(part, torch.nn.ReLU)]
    hooks = [
        relu.register_full_backward_hook(lambda _, into, __: (into[0].clamp(min=0),))
        for relu in relus
    ]
    leaf = images.clone().requires_grad_()
    (grad,) = torch.autograd.grad(network(leaf)[0, k], leaf)
    for hook in hooks:
        hook.remove()
    return grad


# %%
ways = {"modules": small(functional=False), "functions": small(functional=True)}
hooked = {name: guided_by_hooks(network, picture, 0) for name, network in ways.items()}
ours = {
    name: tp.guided_backprop(tp.wrap(network, size=224, **colors), picture, 0)
    for name, network in ways.items()
}
plain = torch.autograd.grad(
    ways["modules"](leaf := picture.clone().requires_grad_())[0, 0], leaf
)[0]


# %%
def as_map(values, name):
    """Numbers of our own as a result that can be shown."""
    return tp.Attribution(
        values, name, ("ok",), ("class 0",), tuple(values.shape[-2:]), reduce="max_abs"
    )


maps = [as_map(hooked[name], name) for name in ways] + list(ours.values())
names = ["hooks, nn.ReLU", "hooks, F.relu", "tapetum, nn.ReLU", "tapetum, F.relu"]
tp.show(maps, pixels=tiny.denormalize(picture), names=names)


# %%
def same(a, b):
    """Equal but for rounding."""
    return torch.allclose(a, b, atol=1e-4 * float(plain.abs().max()))


answers = [network(picture) for network in ways.values()]
here.holds(same(*answers), "both networks give the same answer")
here.holds(
    same(hooked["functions"], plain), "with F.relu the hook gives the plain gradient"
)
here.holds(
    not same(hooked["modules"], plain), "which is not what it gives with nn.ReLU"
)
modules, functions = (one.values for one in ours.values())
here.holds(same(modules, functions), "tapetum gives the same for both")
here.holds(
    same(modules, hooked["modules"]), "and it is what the hook should have given"
)

# %% [markdown]
# ## Other silent mistakes
#
# A wrong input or a wrong target also gives a picture. What can be noticed is refused, in one line that says what would work;
# what may be meant is noted in the result. Read `notes` and `status` before the picture.

# %%
mistakes = {
    "pixels 0..255": lambda: tp.grad_cam(model, 255 * seen),
    "a name that fits no class": lambda: tp.grad_cam(model, images, "tabbby"),
    "a class that does not exist": lambda: tp.grad_cam(model, images, 1_000_000),
    "two targets for one image": lambda: tp.grad_cam(model, images, [k, other]),
}
refusals = {}
for name, mistake in mistakes.items():
    try:
        mistake()
    except tp.TapetumError as refusal:
        refusals[name] = refusal
        print(f"{name}: {refusal}")
not_normalised = tp.grad_cam(model, seen, k)
print("pixels 0..1:", *not_normalised.notes[:1])
tp.show([cam, not_normalised], pixels=seen, names=["normalised", "not normalised"])

# %%
here.holds(
    set(mistakes) - {"pixels 0..255"} <= set(refusals),
    "wrong targets are refused, each in one line",
)
here.see("pixels 0..255" in refusals, "so are pixels that were not divided by 255")
here.see(
    any("normalised" in note for note in not_normalised.notes),
    "pixels that were not normalised are noted",
)
module = model.module
was_training = module.training
module.train()  # the commonest mistake of all: dropout and batch statistics are on
left_on, still = tp.grad_cam(model, images, k), module.training
module.train(was_training)
here.holds(
    torch.allclose(left_on.values, cam.values),
    "a model left in training mode is explained as in evaluation",
)
here.holds(still, "and it was still in training mode afterwards")

# %% [markdown]
# ## Misconceptions
#
# **What people think:** the sharpest map is the most exact. **What is so:** guided backprop is sharp for every class alike.
#
# **What people think:** if it were wrong, there would be an error. **What is so:** a hook that hooks nothing, a class index
# that is off by one, and pixels that were not normalised all give pictures.
#
# **What people think:** relevance is conserved, so LRP is right. **What is so:** many ways of sharing out conserve the sum.
# Biases and rules decide where it goes; name the rule.
#
# **What people think:** the randomisation test proves a method. **What is so:** it can only fail one. What passes has shown
# that it depends on the weights, not that it explains the decision.
#
# ## Formulas
#
# At a ReLU with input $x$, and $R$ the signal from above ($[\cdot]$ is 1 where the condition holds, else 0):
#
# $$\text{gradient: } R\,[x > 0] \qquad \text{deconvnet: } R\,[R > 0] \qquad \text{guided: } R\,[R > 0]\,[x > 0]$$
#
# The epsilon rule of LRP at a linear layer $z_j = \sum_i w_{ij} x_i + b_j$, which passes the relevance $R_j$ on to the inputs:
#
# $$R_i = \sum_j \frac{w_{ij} x_i}{z_j + \varepsilon \operatorname{sign} z_j} R_j,
# \qquad \sum_i R_i = \sum_j R_j \text{ for } b = 0, \varepsilon = 0$$
#
# ## On your own picture
#
# `tapetum lesson 11 --model resnet50 --image dog.jpg`. Is guided backprop as blind to the class on your network? Does LRP find
# a rule for each of its operations, or does it refuse?
#
# While `tapetum studio` runs, [the rules side by side](studio:mattered?methods=guided_backprop,deconvnet,lrp&pictures=coffee)
# open in it.
#
# ## References
#
# - [Zeiler and Fergus 2014](bib:zeiler2014deconvnet): deconvnet.
# - [Springenberg et al. 2015](bib:springenberg2015guided): guided backprop.
# - [Adebayo et al. 2018](bib:adebayo2018sanity): sanity checks for saliency maps.
# - [Bach et al. 2015](bib:bach2015lrp): LRP.
