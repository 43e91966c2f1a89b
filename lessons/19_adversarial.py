# %% [markdown]
# # 19 · Adversarial pictures, layer by layer
#
# **Trust**: how little does it take to change an answer, and what breaks inside? · about 20 minutes · needs
# [lesson 9](lesson:9)
#
# You will
#
# * change an answer by one step that nobody sees, and compare with noise of the same size
# * see why many small steps do better than a large one, and how the success grows with the budget
# * follow the change through the network, layer by layer, beside the noise
# * find the fewest units that bring the answer back, and test whether chance would have done it
# * save an attack as a file, and lose it again

# %%
import torch

import tapetum as tp
from tapetum.course import start

here = start(19)
model = here.model()
images = model.preprocess([here.picture("coffee"), here.picture("cat")])
for row in tp.predict(model, images, k=2):
    print(" · ".join(f"{one.label} {one.probability:.2f}" for one in row))

# %% [markdown]
# ## One step
#
# The gradient of the score says for every pixel in which direction a tiny change moves the answer
# ([lesson 8](lesson:8)). [tp.fgsm](api:fgsm) takes it at its word: every value of the picture moves by the same small
# *ε*, up or down, as the sign of the gradient says. Here *ε* is 4 of the 255 grey levels of a photograph.
#
# **Predict.** Take the same step with *random* signs: every value moves by 4 levels too, the change is as large in every
# sense. How much of its certainty does the network lose on the espresso, by the step and by noise?
#
# <details><summary>Answer</summary>
#
# By noise hardly any. In a space of 150,528 numbers nearly every direction leads past the border: what single pixels do
# cancels. The gradient points along the one direction in which all of them add up. On the cat the network hesitates between
# two kinds: there even noise may be enough.
#
# </details>

# %%
step = tp.fgsm(model, images, eps="4/255")
noise = tp.noise_attack(model, images, eps="4/255")
print(
    "log p of the answer, clean:", [f"{-one:.2f}" for one in step.clean_loss.tolist()]
)
for one in (noise, step):
    lost = [f"{-loss:.2f}" for loss in one.loss[:, 0].tolist()]
    print(f"{one.method}: {', '.join(one.labels)}; log p {lost}")
by_step, by_noise = ((one.loss[:, 0] - one.clean_loss)[0] for one in (step, noise))
here.see(bool(by_step > 5 * by_noise.abs()), "the step takes much more than noise does")
here.see(not bool(noise.success[0]), "noise leaves the espresso an espresso")
here.holds(float(step.largest.max()) <= 4 / 255, "no value moved by more than 4/255")
tp.show(step)

# %% [markdown]
# The middle column shows the change, many times stronger than it is, around grey. It has no shape of the new class. It is
# a pattern that *this* network sums up.
#
# ## Many steps
#
# The espresso has survived one step, less sure of itself: such a step trusts the gradient at the clean picture all the way.
# [tp.pgd](api:pgd) takes smaller steps, asks again after each, and after each puts the picture back into the budget.
#
# **Predict.** Give it a quarter of the budget, half, and all of it. Where does the answer change first?
#
# <details><summary>Answer</summary>
#
# At the smallest already, one grey level: it cannot be seen, and a photograph that is saved as a JPEG changes by more. With
# the whole budget the network is *sure* of the wrong answer.
#
# </details>

# %%
n_steps = here.quick(4, full=10)
attack = tp.pgd(model, images, eps=["1/255", "2/255", "4/255"], n_steps=n_steps, seed=1)
print(attack)
here.holds(
    bool((attack.loss[:, 2] >= step.loss[:, 0] - 1e-6).all()),
    "many steps are never weaker than one",
)
here.see(bool(attack.reached[:, 0].all()), "one grey level is enough")
here.see(bool((attack.confidence[:, 1] > 0.7).all()), "it is sure of the wrong answers")
tp.show(attack)

# %% [markdown]
# ## How far is the border?
#
# Other attacks ask the other way round: how *short* can a change be? [tp.deep_fool](api:deep_fool) walks to the nearest
# border between classes as if the network were linear. Its length is measured as a whole: the root of the sum of the squares.

# %%
short = tp.deep_fool(model, images, n_steps=here.quick(5, full=20), candidates=5)
print(short)
shares = short.length / attack.length
print("share of the length of the attack above:", [f"{one:.0%}" for one in shares])
here.see(bool(short.success.all()), "it crosses a border")
here.see(bool((shares < 0.25).all()), "with a fraction of the length")
here.see(
    int(short.in_8_bits.sum()) < int(short.success.sum()),
    "and rounding to the grey levels of a file undoes it",
)
tp.show(short)

# %% [markdown]
# An attack that ends just across a border is lost when the picture is saved. Those of the budget above survive:
# `attack.in_8_bits`. `tapetum attack` writes the file, reads it again, and says which answer it gets.
#
# ## What breaks inside
#
# The picture hardly changed. The answer did. Somewhere between them the change must have grown.
# [tp.disturbance](api:disturbance) measures in every layer how much of its activation is another, and beside it the same for
# noise: the attack's own change with random signs, so it is exactly as large at every pixel.
#
# **Predict.** In the first block, is the attack's change much larger than that of the noise? And in the last?
#
# <details><summary>Answer</summary>
#
# In the first block both are nearly the same: filters of a few pixels cannot tell an attack from noise. Then the noise is
# averaged away from layer to layer, and the attack is not. In the last block it changes as much as there is, several times
# as much as the noise.
#
# </details>

# %%
changes = tp.disturbance(model, images, attack, draws=here.quick(2, full=5))
print(changes)
first, last = changes.ratio[:, 0], changes.ratio[:, -1]
here.see(bool((first < 2).all()), "in the first block an attack looks like noise")
here.see(bool((last > 2 * first).all()), "in the last one it does not")
tp.show(changes[0])

# %% [markdown]
# The strip goes from clean to attacked. The maps explain each picture's own answer: they still lie on the cup. A map can look
# as reasonable for a wrong answer as for a right one.
#
# The bars name the units that changed most. They are where to look next ([lesson 16](lesson:16)): what else makes them
# answer?
#
# ## The shortest repair
#
# Did the attack change everything, or a few units that matter? We can try. In a pass of the attacked picture, we put some
# channels of one layer back to their clean values, and look at the answer. [tp.shortest_repair](api:shortest_repair) looks
# for as few as possible, and drops every one that is not needed.
#
# **Predict.** A middle layer of this network has 40 channels. How many must be put right, and would any set of as many do?
#
# <details><summary>Answer</summary>
#
# About half of them, or fewer: an attack that is so sure of itself went through many channels, none of which is to blame
# alone. But not any half: hardly one random set of as many brings the answer back.
#
# </details>

# %%
layers = ["blocks.2", "blocks.4"] if not here.own else None
repair = tp.shortest_repair(model, images[:1], attack[0], layers=layers, draws=20)
print(repair)
needed = repair.counts[0].tolist()
here.see(all(count > 0 for count in needed), "every layer alone can repair the answer")
here.see(
    all(
        count < of
        for count, of in zip(needed, repair.channels, strict=True)
        if count > 0
    ),
    "and none needs all of its channels",
)
here.see(bool((repair.random.nan_to_num() < 0.5).all()), "chance hardly does it")
tp.show(repair)

# %% [markdown]
# Minimal is a claim, so let us test it by hand: patch all units of the repair, then all but one.

# %%
layer, units = repair.layers[0], list(repair.units[0][0])
with tp.capture(model, [layer]) as clean:
    model(images[:1])


def answer(patched: list[int]) -> str:
    """The answer to the attacked picture with these channels as on the clean one."""

    def patch(maps: torch.Tensor) -> torch.Tensor:
        maps = maps.clone()
        maps[:, patched] = clean[layer][:, patched]
        return maps

    with tp.edit(model, {layer: patch}):
        return tp.predict(model, attack.images[:1], k=1)[0][0].label


print(f"none: {answer([])}; all {len(units)}: {answer(units)}")
left_out = [answer([one for one in units if one != gone]) for gone in units]
print(f"all but one: {', '.join(dict.fromkeys(left_out))}")
here.holds(
    not units or answer(units) == attack.before[0], "the repair brings the answer back"
)
here.holds(
    attack.before[0] not in left_out or not units, "without any one unit it is lost"
)

# %% [markdown]
# ## Misconceptions
#
# * *"The attack adds a picture of the other class."* It adds a pattern that one network sums up. You see nothing in it.
# * *"The network is sensitive to noise."* Noise of the same size leaves most answers as they are. Aim is what counts.
# * *"The answer did not change, so the network is robust."* Then this attack failed. A stronger one may not; a gradient of
#   zero means that it was blind.
# * *"The map looks fine, so the answer is."* Maps of wrong answers look fine too.
# * *"These few units are the weakness."* They repair *this* picture, and the search needs the clean one to know how.
#
# ## Formulas
#
# With the loss $L(x) = -\log p(\text{class} \mid x)$, the steps of FGSM and PGD, where $P$ puts a picture back into the budget:
#
# $$x' = x + \varepsilon\, \text{sign}\, \nabla L(x), \qquad x_{k+1} = P(x_k + \alpha\, \text{sign}\, \nabla L(x_k))$$
#
# and the change of a layer's activation $a$, beside that of noise:
#
# $$\frac{|a(x') - a(x)|}{|a(x)|} \quad \text{against} \quad \frac{|a(x + s\, (x' - x)) - a(x)|}{|a(x)|}, \quad s = \pm 1$$
#
# ## On your own picture
#
#     tapetum lesson 19 --model resnet50 --image dog.jpg
#     tapetum attack dog.jpg --model resnet50 --eps 1/255,2/255,4/255 --out attacked
#
# Give `--target` a class and lead the network there. [The how-to](howto:attack) has the numbers of 50 photographs.
#
# While `tapetum studio` runs, [an attack on the cup](studio:trust?more=pgd&pictures=coffee) opens in it.
#
# ## References
#
# * [Goodfellow et al. 2015](bib:goodfellow2015explaining): one step.
# * [Madry et al. 2018](bib:madry2018towards): many steps.
# * [Moosavi-Dezfooli et al. 2016](bib:moosavi2016deepfool): the nearest border.
