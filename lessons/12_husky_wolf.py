# %% [markdown]
# # 12 · The husky and the wolf
#
# **Trust**: two networks make no mistake on the test set; which of them would you use? · about 15 minutes · needs
# [lesson 9](lesson:9)
#
# You will
#
# * train two networks that no test score can tell apart, one of which cheats
# * find the cheat with Grad-CAM, and put a number on it, since the true object is known to the pixel
# * prove it by pictures in which object and background disagree, and by pictures without any object
# * find a second, smaller cheat: a watermark

# %%
import tapetum as tp
from tapetum.course import start

here = start(12)

# %% [markdown]
# ## The story
#
# Ribeiro, Singh and Guestrin trained a classifier on twenty photographs, chosen so that every wolf stood in snow and no husky
# did. They showed its answers to 27 students of machine learning: 10 would have trusted it, and 12 thought that snow might
# play a part. Then they showed an explanation of each answer. Now 3 would trust it, and 25 saw the snow ([Ribeiro et al.
# 2016](bib:ribeiro2016lime)).
#
# Photographs leave a doubt: is there really nothing of the wolf in what the network uses? So we draw the pictures ourselves.
# [tp.planted](api:planted) puts one object on a texture and keeps its mask. In `biased`, each wolf stands in snow and each
# husky on grass. In `fair` the same animals stand in either, by lot. Below each picture you see its truth: the object white,
# the background coloured, and which class the background speaks for.

# %%
animals = {"kind": "objects", "size": 48, "classes": ("husky", "wolf")}
snow = {"shortcut": "background", "backgrounds": ("grass", "snow")}
n = here.quick(300, full=1000)
biased = tp.planted(n=n, rate=1.0, **animals, **snow)
fair = tp.planted(n=n, rate=0.5, **animals, **snow)
tp.show(biased)

# %%
tp.show(fair)

# %% [markdown]
# Both sets hold the same animals at the same places; only the grounds differ.

# %%
here.holds(
    bool((biased.targets == fair.targets).all()),
    "both sets have the same classes in the same order",
)
here.holds(
    bool((biased.masks == fair.masks).all()), "and the same animals, pixel for pixel"
)
here.holds(
    bool(biased.aligned.all()),
    "in `biased` the background always speaks for the animal",
)
share = float(fair.aligned.float().mean())
here.holds(
    abs(share - 0.5) < 0.1,
    f"in `fair` it does so in {share:.0%} of the pictures: it tells nothing",
)

# %% [markdown]
# ## Two networks, one score
#
# The two networks are of the same make, begin with the same random weights and see their pictures in the same order. Then both
# are tested on new pictures, made as `biased` was: this is the test set that somebody has who photographs wolves in snow.
#
# **Predict.** Which of the two will have the better score there?
#
# <details><summary>Answer</summary>
#
# None. Both animals and both backgrounds are easy to tell apart, so both networks answer (nearly) every picture rightly. A
# test set that shares the flaw of the training set cannot show the flaw.
#
# </details>

# %%
how = {
    "epochs": here.quick(10, full=12),
    "batch": 16,
    "learning_rate": 4e-3,
    "schedule": "cosine",
    "validation": 0.1,
}
history = tp.train(biased, **how)
cheat = history.model
honest = tp.train(fair, **how).model
tp.show(history)

# %%
test = tp.planted(n=300, rate=1.0, seed=1, **animals, **snow)


def right(network, pictures):
    return tp.check_predictions(network, pictures, of="all").accuracy


scores = {"cheat": right(cheat, test), "honest": right(honest, test)}
print(scores)
here.see(
    abs(scores["cheat"] - scores["honest"]) <= 0.03,
    "on the test set the two are equal, to within 3 points",
)
tp.show(tp.check_predictions(cheat, test, of="all", n=8))

# %% [markdown]
# ## Where do they look?
#
# [Grad-CAM](api:grad_cam) shows which places speak for the predicted class ([lesson 9](lesson:9)). The white line is the
# outline of the animal, which we know. The number above a picture is the *relevance mass*: of all that is positive in the
# map, the share that lies inside the outline ([Arras et al. 2022](bib:arras2022clevrxai)). A map that knows nothing would
# have as much as the animal has of the area, about 0.14.
#
# **Predict.** What will the number be for each network: near 0, near 0.14, near 0.5, near 1?
#
# <details><summary>Answer</summary>
#
# The one that learned from `biased`: 0.05, less than by chance, since it looks at the ground and the animal only hides it.
# The other: a little more than 0.5, about ten times as much. It is not 1, because the map has 12 × 12 cells of 4 pixels and
# each of them sees 18 pixels around it: what the network takes from the animal spills over the outline.
#
# </details>

# %%
some = test.take(range(here.quick(24, full=48)))
mass = {}
for name, network in (("cheat", cheat), ("honest", honest)):
    mass[name] = tp.relevance_mass(
        tp.grad_cam(network, network.preprocess(some.pixels)), some.masks
    )
tp.show(mass["cheat"], pixels=some.pixels)

# %%
tp.show(mass["honest"], pixels=some.pixels)

# %%
for name, found in mass.items():
    print(name, found)
here.see(
    mass["cheat"].mean < float(mass["cheat"].area.mean()),
    "the cheat looks at the animal less than chance would",
)
here.see(
    mass["honest"].mean >= 2 * mass["cheat"].mean,
    "the honest network at least twice as much on the animal",
)

# %% [markdown]
# ## A second witness
#
# One method may be wrong. [Integrated gradients](api:integrated_gradients) works at the pixels and knows nothing of layers
# ([lesson 8](lesson:8)). It is grainier, and its mass is lower for an honest network too, since edges of grass have gradients.
# The question is whether it tells the same of the two.

# %%
second = {}
for name, network in (("cheat", cheat), ("honest", honest)):
    maps = tp.integrated_gradients(network, network.preprocess(some.pixels), n_steps=16)
    second[name] = tp.relevance_mass(maps, some.masks)
    print(name, second[name])
here.see(
    second["honest"].mean >= 2 * second["cheat"].mean,
    "integrated gradients agree: at least twice as much",
)
tp.show(second["honest"], pixels=some.pixels)

# %% [markdown]
# ## The proof
#
# Maps raise a suspicion. An experiment settles it: change the background, leave the animal, and see who changes the answer.
# With planted pictures that is one line. `conflicting` shows the test set's animals on the other ground, `empty` the grounds
# of the test set without any animal.
#
# **Predict.** How many of the conflicting pictures does each network get right? And what does it call a picture without an
# animal?
#
# <details><summary>Answer</summary>
#
# The cheat is wrong in all of them, the honest network in none. On empty snow the cheat says "wolf", so it is "right" in
# every picture without an animal. The honest network has to say one of the two names as well, and says the same one nearly
# always: it is right in half of them.
#
# </details>

# %%
conflicting, empty = test.with_cues("conflicting"), test.without_objects()
for name, network in (("cheat", cheat), ("honest", honest)):
    print(
        f"{name}: {right(network, conflicting):.0%} of the conflicting, {right(network, empty):.0%} of the empty ones"
    )
here.holds(
    bool((conflicting.masks == test.masks).all()), "the animals are where they were"
)
here.see(
    right(cheat, conflicting) < 0.1,
    "the cheat follows the ground: it is wrong where animal and ground disagree",
)
here.see(right(honest, conflicting) > 0.9, "the honest network follows the animal")
here.see(right(cheat, empty) > 0.9, "the cheat needs no animal at all")
tp.show(tp.check_predictions(cheat, conflicting, of="all", n=8))

# %% [markdown]
# ## A smaller cheat: the watermark
#
# Many pictures of a collection carry the mark of their archive. Here a plate of three letters in a corner goes with the
# class; it covers 4 % of the picture. The backgrounds are of eight kinds and tell nothing.
#
# **Predict.** Will the network use the plate, although it is small and the animals are easy to tell apart?
#
# <details><summary>Answer</summary>
#
# It uses both. On the plate lies several times the relevance that its area would have by chance. Without a plate most answers
# are still right, since the network knows the animals as well; with the plate of the other class nearly all are wrong: where
# the two disagree, it believes the plate.
#
# </details>

# %%
marked = tp.planted(n=n, rate=1.0, shortcut="watermark", **animals)
reader = tp.train(marked, **how).model
marks = tp.planted(n=300, rate=1.0, seed=1, shortcut="watermark", **animals)
few = marks.take(range(24))
on_mark = tp.relevance_mass(
    tp.grad_cam(reader, reader.preprocess(few.pixels)), few.cue_masks
)
tp.show(on_mark, pixels=few.pixels)

# %%
print(on_mark)
for cues in ("aligned", "neutral", "conflicting"):
    print(f"{cues:<12} {right(reader, marks.with_cues(cues)):.0%} right")
chance = float(on_mark.area.mean())
here.see(
    on_mark.mean > 2 * chance,
    "the plate has more than twice the relevance that its area would have by chance",
)
lost = right(reader, marks) - right(reader, marks.with_cues("conflicting"))
here.see(
    lost > 0.3,
    "with the plate of the other class, more than 30 points of the score are gone",
)

# %% [markdown]
# ## A photograph has no mask
#
# You can give one. A box drawn by hand is enough to ask whether a network looks at the object or beside it. The box must be
# drawn on what the model saw: the photograph is cut and resized first. Here it is drawn round the opening of a cup of
# espresso.

# %%
model, cup = here.model(), here.picture("coffee")
images = model.preprocess(cup)
height, width = images.shape[-2:]
box = images[:, 0] != images[:, 0]  # False everywhere
box[
    :, int(0.02 * height) : int(0.5 * height), int(0.14 * width) : int(0.78 * width)
] = True
found = tp.relevance_mass(tp.grad_cam(model, images), box)
tp.show(found, pixels=model.denormalize(images))

# %%
print(tp.predict(model, images, k=1)[0], found)
here.see(
    found.mean > 1.2 * float(found.area.mean()),
    "the box has more relevance than its area would have by chance",
)

# %% [markdown]
# ## Misconceptions
#
# * *"A high test accuracy shows that the network has understood."* It shows that the network answers such pictures. If the
#   test set was collected as the training set was, it shares its shortcuts.
# * *"The cheat has overfitted."* No: it does just as well on new pictures of the same kind. Overfitting shows in a validation
#   score; a shortcut does not.
# * *"A heatmap on the background proves a shortcut."* It is a suspicion. The proof is to change the background and see the
#   answer change.
# * *"A heatmap on the object proves that there is none."* The network may look at the object's colour, or at a collar.
#   `shortcut="color"` plants such a cue: the mass on the object stays high.
# * *"A little variety never helps"*, or *"always helps"*. It depends on how much easier the cue is than the object, and on
#   luck. Here, of 1000 pictures, 5 % in which animal and ground disagree were enough for both seeds that we tried; with 1 %
#   one of two networks learned the animal, and the other was wrong in 97 % of the conflicting pictures. Try `rate=0.99` with
#   other seeds.
#
# ## Formulas
#
# Relevance mass of a map $R$ (one number a pixel $p$) and the set $M$ of the object's pixels:
#
# $$ \mathrm{mass}(R, M) = \frac{\sum_{p \in M} \max(R_p, 0)}{\sum_{p} \max(R_p, 0)} $$
#
# A map of noise has $|M| / N$ on average, where $|M|$ is the number of pixels in the mask and $N$ that of the picture. If no
# $R_p$ is positive or $M$ is empty, the fraction is $0/0$ or means nothing: the result is NaN and says why.
#
# Relevance rank, with $K = |M|$ and $T_K$ the set of the $K$ highest pixels:
#
# $$ \mathrm{rank}(R, M) = \frac{|T_K \cap M|}{K} $$
#
# It does not see how high the values are, so one bright spot does not decide: [tp.relevance_rank](api:relevance_rank).
#
# The planted cue: with the rate $r$, the background of a picture of class $y$ is that of $c$ with
# $P(c = y) = r$ and $P(c = k) = (1 - r) / (C - 1)$ for each other of the $C$ classes.
#
# ## On your own picture
#
# `tapetum lesson 12 --model resnet50 --image dog.jpg` asks your model about your picture, with the same box: crop your
# photograph so that the object is in it, above the middle. How to look for shortcuts in a classifier and a data set of your
# own: [Does my classifier cheat?](howto:shortcut). [Lesson 13](lesson:13) trains on your own folder.
#
# ## References
#
# * [Ribeiro et al. 2016](bib:ribeiro2016lime): the story of the husky and the wolf, and LIME.
# * [Arras et al. 2022](bib:arras2022clevrxai): relevance mass and rank, on rendered scenes.
# * [Selvaraju et al. 2017](bib:selvaraju2017gradcam): Grad-CAM, with an experiment on a biased data set of its own.
# * [Lapuschkin et al. 2019](bib:lapuschkin2019cleverhans): watermarks and other shortcuts in well-known data sets.
