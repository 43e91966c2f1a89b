# %% [markdown]
# # 4 · Hooks: sensors on a layer
#
# **Found**: a network hands you its answer; how do you get at what it computed on the way? ·
# about 15 minutes · needs [lesson 1](lesson:1)
#
# You will
#
# * write a hook in plain PyTorch and read what a layer gives
# * see a kept activation change behind your back, and know how to prevent it
# * leave no hook behind, also when something goes wrong
# * change an activation on its way, and see what the network says then

# %%
import torch

import tapetum as tp
from tapetum.course import start

here = start(4)
model = here.model()
images = model.preprocess(here.picture("cat"))
early, *_, deep = [one.layer for one in tp.activation_maps(model, images)]

# %% [markdown]
# ## A hook is a function that is called when a layer has finished
#
# A network in PyTorch is a tree of modules. `register_forward_hook` hangs a function on one of them. Each time that module
# has run, the function gets the module, its inputs and its output. `model.module` is the plain PyTorch network.
#
# **Predict.** We hang a hook on one early layer and run one image. How often is it called, and how many numbers does it get?
#
# <details><summary>Answer</summary>
#
# Once: this layer runs once in a pass. The built-in model's first layer gives 32 channels of 112 × 112 places: 401,408
# numbers for a picture of 150,528. What the hook gets is the layer's raw output. A transformer gives tokens (n, t, c), not a
# map.
#
# </details>

# %%
seen = []
layer = model.module.get_submodule(early)
handle = layer.register_forward_hook(lambda module, inputs, output: seen.append(output))
with torch.no_grad():
    model.module(images)
handle.remove()
print(early, type(layer).__name__, [tuple(one.shape) for one in seen])

# %% [markdown]
# The same with the library, as a picture: the six channels of that layer that vary most from place to place.

# %%
maps = tp.activation_maps(model, images, layers=early, k=6)
tp.show(maps)

# %%
with tp.capture(model, [early]) as acts, torch.no_grad():
    model(images)
here.holds(len(seen) >= 1, "the hook was called")
here.holds(
    acts[early].numel() <= seen[-1].numel(),
    "the library's map holds no number that the layer did not give",
)
here.see(
    tuple(acts[early].shape) == tuple(seen[-1].shape) == (1, 32, 112, 112),
    "one call, 32 channels of 112 x 112 places",
)

# %% [markdown]
# ## The activation that changes after you kept it
#
# Many networks save memory with `ReLU(inplace=True)`: it writes its result over its input. A hook on the layer *before* is
# handed that very memory. Keep it, look at it after the pass, and you see what came later.
#
# The network below has two filters, for edges between left and right and between above and below. Their responses are
# positive on one side of a dark line and negative on the other.
#
# **Predict.** The hook hangs on the convolution. What is the lowest value that it has kept, after the pass?
#
# <details><summary>Answer</summary>
#
# Exactly 0: the convolution gave values down to -0.67, but the ReLU behind it overwrote them in place. The upper row of the
# figure shows only half of the edges. Nothing warned us.
#
# </details>

# %%
sobel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 4
net = torch.nn.Sequential(
    torch.nn.Conv2d(1, 2, 3, padding=1, bias=False), torch.nn.ReLU(inplace=True)
)
net[0].weight.data = torch.stack([sobel, sobel.T])[:, None]
grey = model.denormalize(images).mean(1, keepdim=True).float()

kept = {}
handle = net[0].register_forward_hook(
    lambda module, inputs, output: kept.update(conv=output)
)
with torch.no_grad():
    net(grey)
handle.remove()
print(f"kept by our hook: lowest value {kept['conv'].min():.3f}")

# %% [markdown]
# [tp.capture](api:capture) hands a copy to the network and keeps the original (on a bare module it is the other way round):
# what comes later writes on the one that nobody looks at.

# %%
with tp.capture(net, ["0"]) as right, torch.no_grad():
    net(grey)
print(f"kept by tp.capture: lowest value {right['0'].min():.3f}")
size = tuple(grey.shape[-2:])
rows = [("our hook", kept["conv"]), ("tp.capture", right["0"])]
tp.show(
    [
        tp.ActivationMaps(values, torch.tensor([[0, 1]]), name, size, "their order")
        for name, values in rows
    ]
)

# %%
here.holds(
    float(kept["conv"].min()) == 0,
    "what our hook kept was overwritten: nothing below 0 is left",
)
here.holds(
    torch.equal(right["0"].clamp(min=0), kept["conv"]),
    "it is the ReLU of what the convolution gave",
)
here.see(
    float(right["0"].min()) < -0.2,
    "the convolution itself gave values down to below -0.2",
)

# %% [markdown]
# ## Names and globs
#
# Layers have names, as in `named_modules`. A glob such as `blocks.*` stands for several. The table shows what each layer is,
# how much it computes, and what it held of this picture.
#
# **Predict.** In which of its layers are exact zeros to be found?
#
# <details><summary>Answer</summary>
#
# In and behind the ReLUs, and where their zeros are passed on. A convolution or a batch-norm gives an exact zero only by
# chance, or where all it reads is zero.
#
# </details>

# %%
glob = f"{deep.split('.')[0]}*"
print(glob, "means", model.find_layers(glob))
table = tp.layer_table(model, images)
print("\n".join(str(table).splitlines()[:8]))
tp.show(table)

# %%
shares = [row.zeros for row in table.rows if "ReLU" in row.kind]
here.holds(
    all(row.zeros <= row.not_positive for row in table.rows),
    "zeros are among the values that are not positive",
)
here.see(
    len(shares) > 10 and min(shares) > 0.15,
    "behind each ReLU at least 15 % of the values are exactly 0",
)
try:
    model.find_layers(early + "x")
except tp.TapetumError as refusal:
    print("refused:", refusal)

# %% [markdown]
# ## A hook that stays
#
# A hook stays until someone removes it. If the pass fails in between, the line that removes it is never reached, and every
# later pass calls it again. `tp.capture` removes its hooks on every way out of the `with` block.
#
# **Predict.** A hook raises an error. We catch it and go on. How many hooks hang on the layer now?
#
# <details><summary>Answer</summary>
#
# One: ours. With `tp.capture` none.
#
# </details>


# %%
def broken(module, inputs, output):
    raise RuntimeError("a mistake in my hook")


def hooks() -> int:
    return sum(len(part._forward_hooks) for part in model.module.modules())


# %%
before = hooks()
handle = layer.register_forward_hook(broken)
try:
    model.module(images)
except RuntimeError as error:
    print("the pass failed:", error)
left_behind = hooks() - before
handle.remove()

# %%
try:
    with tp.capture(model.module, [early]):
        raise RuntimeError("a mistake in the block")
except RuntimeError:
    left_by_capture = hooks() - before
print(f"left behind: {left_behind} by our hook, {left_by_capture} by tp.capture")

# %% [markdown]
# Both are gone now, and the network answers as if nothing had been.

# %%
answers = tp.predict(model, images)
tp.show(answers, pixels=model.denormalize(images))

# %%
here.holds(
    (left_behind, left_by_capture) == (1, 0),
    "our hook stayed after the error, those of tp.capture did not",
)
here.holds(hooks() == before, "at the end no hook is left")

# %% [markdown]
# ## Changing what passes
#
# A hook that returns something replaces the output. With that you can ask *what if*: [tp.edit](api:edit) runs each named
# layer's map through a function of yours. We silence the ten most active channels of a deep layer, and then do something
# else: we replace each channel by its mean, so that the layer no longer knows *where* anything was.
#
# **Predict.** Which of the two changes the answer more: to lose 10 of 1280 channels, or to lose all places?
#
# <details><summary>Answer</summary>
#
# The ten channels: the three names of cats fall from 92 % together to less than half. Losing all places changes nothing,
# because this network's head begins by taking the mean over places. It never knew where the cat was.
#
# </details>

# %%
with tp.capture(model, [deep]) as acts, torch.no_grad():
    model(images)
strongest = acts[deep].mean((2, 3))[0].topk(min(10, acts[deep].shape[1])).indices


def silence(maps):
    maps = maps.clone()
    maps[:, strongest] = 0
    return maps


def without_places(maps):
    return maps.mean((2, 3), keepdim=True).expand_as(maps)


# %% [markdown]
# From above: as it is, with ten channels silenced, and without places.

# %%
with tp.edit(model, {deep: silence}):
    silenced = tp.predict(model, images)
with tp.edit(model, {deep: without_places}):
    blurred = tp.predict(model, images)
photos = model.denormalize(images).repeat(3, 1, 1, 1)
tp.show([answers[0], silenced[0], blurred[0]], pixels=photos)

# %%
together = [
    sum(one.probability for one in row[:3])
    for row in (answers[0], silenced[0], blurred[0])
]
print("the first three names together:", [round(one, 3) for one in together])
here.holds(
    tp.predict(model, images) == answers, "behind the blocks the network is as it was"
)
here.see(
    together[0] > 0.85 and together[1] < 0.6,
    "ten channels of 1280 carry much of the answer",
)
here.see(
    abs(together[2] - together[0]) < 1e-4,
    "where things were made no difference behind this layer",
)

# %% [markdown]
# ## Misconceptions
#
# * *"A hook gives me a copy."* It gives you the tensor itself. Whoever works in place on it later changes what you kept.
# * *"No module says `inplace=True`, so nothing is overwritten."* `x.relu_()`, `F.relu(x, inplace=True)` and `x += y` do the
#   same.
# * *"The script is over soon, the hook does no harm."* In a notebook the next cell runs the same network, with the hook.
# * *"What a channel's map shows is what the answer is made of."* The head may read only the map's mean. To know what matters,
#   change it and look at the answer ([lesson 10](lesson:10)).
#
# ## Formulas
#
# A network is a chain (or graph) of functions $f = f_L \circ \dots \circ f_2 \circ f_1$. A hook on layer $l$ reads
#
# $$a^{(l)} = f_l(a^{(l-1)}), \qquad a^{(0)} = x$$
#
# where $x$ is the image. An edit with the function $g$ runs the rest of the network on something else:
#
# $$y = (f_L \circ \dots \circ f_{l+1})\bigl(g(a^{(l)})\bigr)$$
#
# With global average pooling the head reads only $m_c = \frac{1}{hw} \sum_{i,j} a^{(l)}_{cij}$, the mean of each channel $c$
# over the $h \times w$ places, so any $g$ that keeps the means keeps the answer.
#
# ## On your own picture
#
#     tapetum lesson 4 --model resnet50 --image dog.jpg
#     tapetum run layer_table dog.jpg --model resnet50 --out layers
#
# Look at the table's column of zeros: which part of the network is silent for your picture?
#
# ## References
#
# * [Zhou et al. 2016](bib:zhou2016cam), Learning Deep Features for Discriminative Localization: a head that reads means only.
# * PyTorch's documentation of `torch.nn.Module.register_forward_hook`.
# * [tp.capture](api:capture), [tp.edit](api:edit), [tp.layer_table](api:layer_table),
#   [tp.activation_maps](api:activation_maps).
# * Next: [lesson 5](lesson:5), what changes from layer to layer.
