# %% [markdown]
# # 6 · Where things are
#
# **Found**: a place of a deep layer stands for a part of the picture; which part, and how much of it really counts? ·
# about 20 minutes · needs [lesson 5](lesson:5)
#
# You will
#
# * compute the receptive field of three layers by hand, and of a whole network by machine
# * measure it with gradients, and find that most of it hardly counts
# * go from a place of a layer to its pixels, and back
# * hide a part of the picture and follow the change through the network

# %%
import torch

import tapetum as tp
from tapetum.course import start

here = start(6)
model = here.model()
cat = here.picture("cat")
images = model.preprocess(cat)

# %% [markdown]
# ## By hand
#
# A 3 × 3 convolution looks at three pixels a side. A 2 × 2 pooling behind it looks at two neighbouring results: together they
# saw 4 pixels. And it takes a step of 2, so from now on neighbours are 2 pixels apart. Two numbers are enough: the field $r$
# and the step $j$ (jump), both 1 at the image. Each layer with kernel $k$ and stride $s$ makes
#
# $$r \leftarrow r + (k - 1) \, j, \qquad j \leftarrow j \, s$$
#
# **Predict.** A 3 × 3 convolution, a 2 × 2 pooling with stride 2, a 3 × 3 convolution. Field and step after each?
#
# <details><summary>Answer</summary>
#
# 3 and 1; then 3 + 1·1 = 4 and 2; then 4 + 2·2 = 8 and 2. The second convolution adds 4 pixels, because its three inputs are
# 2 pixels apart.
#
# </details>

# %%
field, step = 1, 1
for kernel, stride in [(3, 1), (2, 2), (3, 1)]:
    field, step = field + (kernel - 1) * step, step * stride
    print(f"kernel {kernel}, stride {stride}: field {field} px, step {step} px")

# %% [markdown]
# The same three layers as a network. The library follows the operations that really run; beside it stands what gradients
# measure.

# %%
torch.manual_seed(0)
layers = [
    torch.nn.Conv2d(3, 8, 3, padding=1),
    torch.nn.MaxPool2d(2),
    torch.nn.Conv2d(8, 8, 3, padding=1),
]
small = tp.wrap(
    torch.nn.Sequential(*layers),
    size=24,
    mean=(0,) * 3,
    std=(1,) * 3,
    name="three layers",
)
three = tp.receptive_fields(small, torch.zeros(1, 3, 24, 24), layers="*", n=8)
print(three)
tp.show(three)

# %%
here.holds(
    [one.side for one in three.fields] == [3, 4, 8],
    "by hand and by machine: 3, 4 and 8 pixels",
)
here.holds(
    all(one.measured <= one.side for one in three.fields),
    "gradients reach no further",
)
reached = [one.measured for one in three.fields]
here.see(reached == [3, 4, 8], "and they reach that far")

# %% [markdown]
# ## A whole network
#
# Now your model. *Theory* is the part of the picture that the windows let the middle place of a layer see. *Measured* are all
# pixels on which its activation depends at all, according to the gradient. The dashed square holds 95 % of the squared
# gradient.
#
# **Predict.** The picture has 224 pixels a side. How large is the field of the deepest layer: about 50, about 200, or more
# than the picture? And how large is the dashed square at a layer in the middle of the network, compared with its field?
#
# <details><summary>Answer</summary>
#
# More: 851 pixels. The place "sees" far beyond the border, where there is only padding. At block 4 the field is 339 pixels,
# but 95 % of the squared gradient lie in a square of about 80: a quarter of the side, less than a tenth of the area. The
# weight piles up in the middle like a bell, because many paths through the network lead to the middle and few to the edge.
#
# </details>

# %%
passes = here.quick(2, full=6)
fields = tp.receptive_fields(model, images, n=passes)
print(fields)
tp.show(fields)

# %%
pooled = model.survey_at(fields.size).pooled
known = [one for one in fields.fields if one.side and one.layer not in pooled]
if not known:
    print("every place of these layers may see the whole image")
for one in known:
    print(f"{one.layer}: 95 % in {one.effective_side} of {one.side} px")
here.holds(
    all(one.effective_side <= one.measured <= one.side for one in known),
    "no gradient comes from beyond the theory",
)

# %%
deepest, middle = fields.fields[-1], fields.fields[-2]
sides = deepest.side, deepest.measured
here.see(sides == (851, 224), "a field of 851 px, the picture fills 224")
here.see(
    middle.side == 339 and middle.effective_side < 339 / 3,
    "at 14 x 14 places 95 % lie in less than a third of the side",
)

# %% [markdown]
# That was on noise. What a place depends on is not the same for every picture. On yours:

# %%
own = tp.receptive_fields(model, images, on="images", n=passes)
tp.show(own)

# %%
pairs = list(zip(fields.fields, own.fields, strict=True))
sides = [(one.effective_side, two.effective_side) for one, two in pairs]
print("side of the square with 95 %, on noise and on the picture:")
print(sides)
here.holds(
    all(one.theory == two.theory for one, two in pairs),
    "the theoretical field is the same for every picture",
)
here.see(
    any(one != two for one, two in sides),
    "the effective field depends on the picture",
)

# %% [markdown]
# ## From a place to its pixels
#
# `window(layer, (row, column))` says which pixels a place can see: first and last row, first and last column. Numbers below 0
# or beyond the picture are padding. And one thing to mind: rows and columns are those of the picture *as the model saw it*,
# resized and cut to a square. A map that is drawn over the uncut photograph points at the wrong things.
#
# **Predict.** Which part of your photograph does the model not see at all?
#
# <details><summary>Answer</summary>
#
# Of this photograph, 451 × 300 pixels, about a fifth on the left and on the right, and a narrow strip above and below. The
# figure begins with what the model saw. Each map beside it covers exactly that square, and nothing of what was cut off.
#
# </details>

# %%
first = fields.fields[0]
rows, columns = first.grid
survey = model.survey_at(fields.size)
corner = survey.window(first.layer, (0, 0))
centre = survey.window(first.layer, (rows // 2, columns // 2))
print(f"{first.layer}: the corner place sees {corner}, the middle one {centre}")
box = model.preprocessing.box(*cat.shape[-2:])
top, left, bottom, right = map(round, box)
print(
    f"of {tuple(cat.shape[-2:])} px: rows {top} to {bottom}, columns {left} to {right}"
)
names = [one.layer for one in fields.fields]
tp.show(tp.layer_progression(model, images, layers=names))

# %%
here.holds(
    centre == first.theory,
    "the window of the middle place is the square that was drawn",
)
here.holds(
    0 <= top < bottom <= cat.shape[-2] and 0 <= left < right <= cat.shape[-1],
    "the model sees a part of the photograph",
)
share = (bottom - top) * (right - left) / (cat.shape[-2] * cat.shape[-1])
here.see(share < 0.6, f"the model sees only {share:.0%} of this photograph")

# %% [markdown]
# ## The occlusion probe
#
# Now the other direction: which places notice a change in the picture? We paint rows 50 to 150 and columns 60 to 160 black,
# run the network on both pictures, and draw at each layer how much the activations differ.
#
# **Predict.** At the first layer the change stays under the box. And at the last one? What will the network say?
#
# <details><summary>Answer</summary>
#
# It spreads as the fields grow: at the last layer every place has changed, and less than half of the change lies under the
# box. But it stays centred there, since fields count most in their middle. The network still sees a cat, but another one:
# tiger cat falls, Egyptian cat rises.
#
# </details>

# %%
probe = tp.occlusion_probe(model, images)
print(probe)
tp.show(probe)

# %%
for i, (layer, change) in enumerate(zip(probe.layers, probe.changes, strict=True)):
    reach = probe.reach[i]
    if reach is None:
        print(f"{layer}: every place may see the box")
        continue
    outside = change.clone()
    outside[:, reach[0] : reach[1] + 1, reach[2] : reach[3] + 1] = 0
    here.holds(
        float(outside.abs().max()) == 0,
        f"{layer}: where no place can see the box, nothing changed",
    )

# %%
under = probe.share_under[:, 0].tolist()
print("share of the change under the box:", [round(one, 2) for one in under])
here.see(
    under[0] > 0.99 and under[-1] < 0.5,
    "all of it at first, less than half at the end",
)
here.see(
    probe.classes == (("tiger cat", "Egyptian cat"),),
    "the answer changes from tiger cat to Egyptian cat",
)

# %% [markdown]
# ## What "hidden" means
#
# There is no way to show nothing. A network takes numbers, and 0 for a network that normalises its input is not black: it is
# the mean colour of its training pictures, a grey. So name what you put there, and try another one.
#
# **Predict.** Which will change the answer least: black, mean grey, a blur of the picture, or noise?
#
# <details><summary>Answer</summary>
#
# The mean grey: tiger cat falls from 0.40 to 0.29, with black to 0.23, with the blur to 0.20 and with noise to 0.16. Noise
# brings edges of its own, and the network reads them. But with all four Egyptian cat takes over. Had they disagreed, you
# would have measured what you put there, not what you took away.
#
# </details>

# %%
probes = {
    fill: tp.occlusion_probe(model, images, fill=fill)
    for fill in ("black", "grey", "blur", "noise")
}
for one in probes.values():
    print(f"{one.fill}: {', '.join(one.answers())}")
grey = probes["grey"]
tp.show(grey)

# %%
top, _, left_side, _ = grey.box
black_box, grey_box = (one.after[0, :, top, left_side] for one in (probe, grey))
here.holds(float(black_box.max()) < 1e-3, "black is 0 in every colour")
here.see(float(grey_box.min()) > 0.4, "0 for the network is a grey, not black")
left = {
    fill: 0.0 if one.probabilities is None else float(one.probabilities[0, 1])
    for fill, one in probes.items()
}
here.see(
    max(left, key=lambda fill: left[fill]) == "grey",
    "the mean grey takes least away from tiger cat",
)
here.see(
    len({one.classes for one in probes.values()}) == 1,
    "all four fills lead to the same answer",
)

# %% [markdown]
# ## Misconceptions
#
# * *"A deep place sees a small patch."* Its field is often larger than the picture. What counts most is a patch in the
#   middle.
# * *"The receptive field is where the network looks."* It is where it *could* look. What it used is another question
#   ([lesson 9](lesson:9)).
# * *"Zero means black."* Only before normalisation. After it, zero is the mean colour of the training set.
# * *"The change under the box is what the box meant to the network."* It is how much numbers changed. Only the answer says
#   what it meant.
# * *"A transformer has a receptive field, too: its patch."* From the first attention on every place may see all of the
#   picture.
#
# ## Formulas
#
# For layers $l = 1, 2, \dots$ with kernel $k_l$, stride $s_l$ and dilation $d_l$ ([Araujo et al.
# 2019](bib:araujo2019receptive)):
#
# $$r_l = r_{l-1} + (k_l - 1) \, d_l \, j_{l-1}, \qquad j_l = j_{l-1} \, s_l, \qquad r_0 = j_0 = 1$$
#
# where $r_l$ is the field's side and $j_l$ the step, in pixels. Where paths join (a skip connection), the larger field
# counts.
#
# Measured is the squared gradient at the pixel $(y, x)$ of what all channels $c$ give at the middle place $(i, j)$, with
# signs $\epsilon_c = \pm 1$ drawn by lot so that channels do not cancel, averaged over the $n$ passes $p$ and summed over the
# colours $q$ ([Luo et al. 2016](bib:luo2016understanding)); $\partial_{qyx}$ is the derivative by one value of the image:
#
# $$E(y, x) = \frac{1}{n} \sum_{p=1}^{n} \sum_q \left( \partial_{qyx} \sum_c \epsilon_c a_{cij} \right)^2$$
#
# The probe draws, with $x'$ the picture with the box and $C$ the number of channels,
#
# $$\Delta_{ij} = \frac{1}{C} \sum_c \lvert a_{cij}(x') - a_{cij}(x) \rvert$$
#
# ## On your own picture
#
#     tapetum lesson 6 --model resnet50 --image dog.jpg
#     tapetum run occlusion_probe dog.jpg --box 50,150,60,160 --fill blur --out probe
#     tapetum run receptive_fields dog.jpg --model vgg16 --weights random --out fields
#
# Put the box over the part that you think matters, then over the background. Which changes the answer more?
#
# While `tapetum studio` runs, [the cup and the map of what mattered](studio:mattered?methods=occlusion&pictures=coffee) open
# in it.
#
# ## References
#
# * [Araujo et al. 2019](bib:araujo2019receptive), Computing Receptive Fields of Convolutional Neural Networks.
# * [Luo et al. 2016](bib:luo2016understanding), Understanding the Effective Receptive Field.
# * [tp.receptive_fields](api:receptive_fields), [tp.occlusion_probe](api:occlusion_probe), [tp.capture](api:capture).
# * Next: [lesson 7](lesson:7), what the pretrained net found.
