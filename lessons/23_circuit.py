# %% [markdown]
# # 23 · A circuit, by hand and by measuring
#
# **Looks for**: how is a unit computed from other units, and how do you know? · about 25 minutes · needs
# [lesson 14](lesson:14)
#
# You will
#
# * compute the weight of an edge with one line, and find the same number by taking the unit away
# * see why an edge is what is left when everything between is held, and what goes wrong without that
# * find an edge that skips a layer, and one that is a plus made of two minuses
# * run a circuit alone, beside random ones, and put it to three tests
# * look for the circuit of a class in a real network, and see how far 50 edges get

# %%
import torch

import tapetum as tp
from tapetum.course import start

here = start(23)
model, truth = tp.planted_circuit("cross", seed=3)
images = truth.images
print(
    "\n".join(f"{a} -> {b}: {'+' if sign > 0 else '-'}" for a, b, sign in truth.edges)
)

# %% [markdown]
# ## An edge by hand
#
# The network above has weights that somebody wrote: one channel of the first convolution answers horizontal bars, one
# vertical bars, and a channel of the second one adds them: a cross. That channel alone makes class 0. All other weights are
# small noise. The list says so; let us find it without the list.
#
# Class 0 is a linear function of the second convolution's channels. So the channel's part in it is easy: its weight times
# the mean of what is left of it after the ReLU.
#
# **Predict.** Set that channel to zero and look at the class. By how much does it fall?
#
# <details><summary>Answer</summary>
#
# By exactly that product. Where everything behind a unit is linear, slope times activation and taking away are the same
# number. Behind an activation function they are not: the first is what a *small* change would do.
#
# </details>

# %%
layer, channel = "body.two", int(truth.edges[2][0].rpartition(":")[2])


def without(maps: torch.Tensor) -> torch.Tensor:
    """The maps with the channel at zero."""
    maps = maps.clone()
    maps[:, channel] = 0
    return maps


with tp.capture(model, [layer], stop=False) as acts:
    whole = model(images)[:, 0]
with tp.edit(model, {layer: without}):
    less = model(images)[:, 0]
by_hand = model.module.answer.weight[0, channel] * acts[layer][:, channel].relu().mean(
    (1, 2)
)
print(
    f"weight x activation {float(by_hand.mean()):.4f}, taken away {float((whole - less).mean()):.4f}"
)
here.holds(
    torch.allclose(by_hand, whole - less),
    "weight times activation is what is lost without the unit",
)

# %% [markdown]
# [tp.circuit](api:circuit) does that for every edge, backwards from the class, the strongest first.

# %%
found = tp.circuit(model, 0, images, edges=3, test=False)
here.holds(
    truth.compare(found) == (1.0, 1.0),
    "the three strongest edges are those of the list",
)
print(found)
tp.show(found)

# %% [markdown]
# Red excites, blue inhibits. A solid line is an edge that taking it away confirms: its effect has the sign that the measure
# says, its 95 % interval over the pictures leaves out zero, and it is larger than those of 19 random units. In this small
# network only a few other units are left to compare with, so faint edges pass easily, too.
#
# ## Hold everything between
#
# Now a chain: a unit excites a second one, the second a third one, and the third the class. Does the first one have an edge to
# the class? It matters for the class, but only through the others.
#
# **Predict.** We measure every edge in two ways: along *all* paths, and directly, with every unit between held as it is.
# Which edge does the chain get that nobody would draw?
#
# <details><summary>Answer</summary>
#
# Along all paths the first unit gets an edge to the class, stronger than that of the middle. A picture of such edges shows
# everything connected with everything before it. By direct effects it has none: held between, the second unit does not move.
#
# </details>

# %%
chain, steps = tp.planted_circuit("chain", seed=3)
expanded = tp.circuit(chain, 0, steps.images, edges=3, measure="expanded", test=False)
direct = tp.circuit(chain, 0, steps.images, edges=3, test=False)
first, last = steps.edges[0][0], len(expanded.nodes) - 1
skips = any(
    str(expanded.nodes[one.source]) == first and one.target == last
    for one in expanded.edges
)
here.holds(skips, "along all paths, the first unit of a chain has an edge to the class")
here.holds(steps.compare(direct) == (1.0, 1.0), "directly, the chain is a chain")
with tp.capture(chain, ["body.two"]) as acts:
    chain(steps.images)
weight = chain.module.body.two.weight[int(steps.edges[1][0].rpartition(":")[2])]
print(
    f"the strongest weight into the second unit: {float(weight.flatten()[weight.abs().argmax()]):+.2f}"
)
print("and its edge:", f"{direct.into(1)[0].weight:+.3f}")
tp.show(direct)

# %% [markdown]
# That weight is *negative*, and yet the first unit excites the second one: the batch-norm behind it has a negative factor. Two
# minuses make a plus. Whoever reads the weights alone reads the wrong sign, so an edge here includes the batch-norm.
#
# ## Past a layer
#
# A residual connection carries a unit's value past a convolution. So a unit may act on a far one *directly*.
#
# **Predict.** In the next network the unit of the first layer excites one of the third, past the second. The second layer
# hears the first, too, and inhibits the third. What do the *weights* say of a silent channel of the second layer that is
# added to the same place?
#
# <details><summary>Answer</summary>
#
# That it is as strong as the first unit: both write to the same channel, from where the same weight leads on. Only a picture
# tells that it is silent. Weights say what could be, effects what is.
#
# </details>

# %%
past, truth = tp.planted_circuit("residual", seed=3)
by_effect = tp.circuit(past, 0, truth.images, edges=4, test=False)
by_weight = tp.circuit(past, 0, truth.images, edges=4, measure="weights", test=False)
for name, one in (("effects", by_effect), ("weights", by_weight)):
    print(f"{name}: {truth.compare(one)[0]:.0%} of the edges are right")
here.holds(
    truth.compare(by_effect) == (1.0, 1.0),
    "by effects all edges are right, also the one past a layer",
)
here.holds(truth.compare(by_weight)[0] < 1, "by weights a silent channel gets an edge")
tp.show(
    tp.expanded_weights(past, "one", f"three:{truth.edges[0][1].rpartition(':')[2]}")
)

# %% [markdown]
# These are the kernels through which the third layer's unit hears the first layer, along both ways together. The red middle
# is the excitation past the layer less the inhibition through it; the blue one belongs to the channel that is silent.
#
# ## Alone, and put to the test
#
# A list of strong edges is not yet a circuit. The claim is: *these edges make the score*. So run them alone. Every unit hears
# its parents in the circuit; of all others it hears nothing (or their mean, or what they are on another picture). Then ask
# three questions. *Equivalence*: does it score as the network does? *Independence*: does what is left of the network still know
# the answer? *Minimality*: is every edge needed? Each is a test at level .05. It "holds" where the test finds no fault, and on
# twelve pictures a test finds only large faults.
#
# **Predict.** The four planted edges: do they keep all of the score?
#
# <details><summary>Answer</summary>
#
# Not quite: the noise around them takes part as well. A circuit is a claim about *how much*, and a test says how well it holds.
#
# </details>

# %%
four = tp.circuit(past, 0, truth.images, edges=4)
eight = tp.circuit(past, 0, truth.images, edges=8)
kept = [float(one.faithfulness.kept["zero"][-1]) for one in (four, eight)]
print(f"four edges keep {kept[0]:.0%}, eight {kept[1]:.0%}")
for one in (four, eight):
    print(", ".join(f"{test.name} {test.outcome}" for test in one.tests))
here.holds(kept[0] > 0.7, "the four planted edges make most of the score")
here.holds(float(eight.faithfulness.random[:, -1].max()) < 0.5, "random edges do not")
here.holds(four.tests[2].passed, "each of the four is needed")
here.holds(not four.tests[0].passed, "and yet four edges are not the network")
here.holds(eight.tests[0].passed, "eight score as the network does")
here.holds(not eight.tests[2].passed, "and yet not all of the eight are needed")
print(eight)
tp.show(eight)

# %% [markdown]
# The four edges are those that somebody planted, and the small noise around them still adds up to a few per cent of the score.
# The test of equivalence sees it: on every picture the four score lower. With four weak edges more it holds, and then the test
# of minimality finds that some of the eight do no more than random edges would. The noise runs through hundreds of edges, so
# no circuit of this network stands all three tests: independence fails for both, since what is left out, weak as it is, still
# rises and falls with the score. A circuit is a matter of degree, and the three tests say of what kind the rest is.
#
# Look at the curve, too: with two edges it is *worse* than with one. An excitation without its inhibition overshoots. More
# edges are not always nearer to the truth.
#
# ## In a real network
#
# EfficientNet-Lite0 has 21,008 channels in its convolutions. What makes it say espresso? We ask for ten edges, on one
# photograph.
#
# **Predict.** How much of the score will the strongest ten edges keep when they run alone?
#
# <details><summary>Answer</summary>
#
# Little. The answer is a sum over hundreds of channels, each a small part. Most of the ten edges are confirmed one by one, and
# still they are not the circuit. A drawing of ten edges shows the strongest parts of a computation, not the computation.
#
# </details>

# %%
network = here.model()
photograph = network.preprocess([here.picture("coffee")])
real = tp.circuit(network, None, photograph, edges=10, fan_in=3, measure="gradient")
print(real)
kept = float(real.faithfulness.kept["zero"][-1])
print(f"ten edges keep {kept:.0%} of the score")
here.see(kept < 0.5, "ten edges are not the circuit")
here.see(real.confirmed >= 0.5, "and yet most of them are confirmed")
tp.show(real)

# %% [markdown]
# ## Misconceptions
#
# * *"The largest weights are the circuit."* A large weight from a silent unit does nothing.
# * *"The unit matters, so it has an edge to the answer."* It may matter through others. An edge is what is left when they are
#   held.
# * *"Each edge is confirmed, so the circuit is right."* Each may be real, and all together may make a tenth of the score.
# * *"It keeps 100 % of the score, so it is the circuit."* So does the whole network. Ask for minimality, too.
# * *"It holds all three tests, so it is right."* They found no fault on these few pictures. Ask again with more, and other
#   ones.
# * *"Setting a unit to zero removes it."* For some units zero is a strong signal. Compare with the mean, and with other
#   pictures.
#
# ## Formulas
#
# The direct effect of a unit $s$ on a unit $t$, all units between at their values $a$ on the picture, and its estimate:
#
# $$e_{s \to t} = t(a) - t(a \text{ with } s \text{ replaced}) \approx
# \sum_p \frac{\partial t}{\partial a_s(p)} (a_s(p) - r_s(p))$$
#
# What a circuit $C$ keeps of a score $f$, with $\varnothing$ the network without any unit, over pictures $x$:
#
# $$1 - \frac{\sum_x |C(x) - f(x)|}{\sum_x |\varnothing(x) - f(x)|}$$
#
# ## On your own picture
#
#     tapetum lesson 23 --model resnet50 --image dog.jpg
#
# [The how-to](howto:circuits) says how often each measure is right on networks whose circuits are known.
#
# ## References
#
# * [Olah et al. 2020](bib:olah2020zoom): circuits of a vision network, by weights.
# * [Syed et al. 2023](bib:syed2023attribution): slope times activation as an estimate of patching.
# * [Shi et al. 2024](bib:shi2024hypothesis): the three tests.
