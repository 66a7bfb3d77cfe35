"""Pages with one right answer: functions that Python runs, sums in a tale, the long tail of animal facts."""

from random import Random

from llama_mini.data.stories import english
from llama_mini.data.stories.grammar import Grammar, Options, Rule
from llama_mini.data.stories.world import FACTS

DIGITS = range(2, 10)
FORMS = (
    [f"x + {a}" for a in DIGITS],
    [f"x * {a}" for a in DIGITS],
    [f"x * {a} + {b}" for a in DIGITS for b in DIGITS],
    [f"x * x + {a}" for a in DIGITS],
    [f"max(x, {a})" for a in DIGITS],
    [f"min(x, {a})" for a in DIGITS],
    [f"abs(x - {a})" for a in DIGITS],
    [f"len(x) * {a}" for a in DIGITS],
)
BODIES = {body: 1 / len(form) for form in FORMS for body in form}
STRINGS = ('"cat"', '"goat"', '"mouse"', '"donkey"')


def arguments(body: str) -> Options:
    """What a function with this body can be called with."""
    return STRINGS if "len" in body else range(10)


def value(body: str, x: int | str) -> list[int]:
    """What Python makes of the body; the strings come from FORMS alone."""
    return [eval(body, {"x": x.strip('"') if isinstance(x, str) else x})]


FUNCTION = Grammar(
    facts={
        "body": Rule(BODIES),
        "x1": Rule(arguments, "body"),
        "x2": Rule(arguments, "body"),
        "value1": Rule(value, "body", "x1"),
        "value2": Rule(value, "body", "x2"),
    },
    phrases={
        "function": Rule(
            [
                f"def {name}(x):\n    return {{body}}\n"
                f"{name}({{x1}}) == {{value1}}\n{name}({{x2}}) == {{value2}}"
                for name in "fgh"
            ]
        )
    },
)


def signs(n: int) -> Options:
    """What can happen to n things, if at least one moves and at most twenty may be had."""
    return ["less"] if n > 10 else ["more"] if n == 0 else ["more", "less"]


def moves(n: int, sign: str) -> Options:
    """How many things can move."""
    return range(1, 11) if sign == "more" else range(1, n + 1)


def after(n: int, sign: str, moved: int) -> list[int]:
    """How many things there are then."""
    return [n + moved if sign == "more" else n - moved]


ARITHMETIC = Grammar(
    facts={name: FACTS[name] for name in ("hero", "pronoun", "species", "friend")}
    | {
        "things": Rule(("apples", "carrots", "plums", "seeds", "bones", "stones", "flowers")),
        "n": Rule(range(2, 11)),
        "sign1": Rule(signs, "n"),
        "moved1": Rule(moves, "n", "sign1"),
        "n1": Rule(after, "n", "sign1", "moved1"),
        "sign2": Rule(signs, "n1"),
        "moved2": Rule(moves, "n1", "sign2"),
        "n2": Rule(after, "n1", "sign2", "moved2"),
    },
    phrases={
        **{name: english.PHRASES[name] for name in ("she", "her", "him")},
        "arithmetic": Rule(
            [
                "{start} {move1}\nQuestion: {question}\nAnswer: {n1}",
                "{start} {move1} Then {move2}\nQuestion: {question}\nAnswer: {n2}",
            ]
        ),
        "start": Rule(
            ["{Hero} the {species} had {n} {things}.", "A {species} named {hero} had {n} {things}."]
        ),
        **{
            f"move{i}": Rule(
                {
                    "more": (
                        f"{{friend}} gave {{him}} {{moved{i}}} more.",
                        f"{{hero}} got {{moved{i}}} more.",
                    ),
                    "less": (
                        f"{{hero}} lost {{moved{i}}} of them.",
                        f"{{friend}} took {{moved{i}}} of them.",
                    ),
                },
                f"sign{i}",
            )
            for i in (1, 2)
        },
        "question": Rule(["How many {things} did {hero} have then?"]),
    },
)

SYLLABLES = ("ba", "do", "fi", "ga", "ka", "lu", "mo", "ni", "pa", "ri", "sa", "te", "vo", "wi", "zu")
ENTITIES, ZIPF = 3000, 1.1
TRAITS = {
    "colour": ("red", "black", "white", "brown", "grey", "yellow", "green", "blue"),
    "beast": ("fox", "wolf", "bear", "owl", "frog", "deer", "hare", "mole", "crow", "swan", "bee", "ant"),
    "den": (
        "forest",
        "cave",
        "lake",
        "sea",
        "desert",
        "valley",
        "swamp",
        "tower",
        "cellar",
        "well",
        "mill",
        "garden",
    ),
    "diet": (
        "nuts",
        "roots",
        "honey",
        "grass",
        "seeds",
        "fish",
        "corn",
        "plums",
        "leaves",
        "bread",
        "cheese",
        "meat",
    ),
    "fear": (
        "fire",
        "storm",
        "snow",
        "rain",
        "fog",
        "dogs",
        "cats",
        "noise",
        "ice",
        "water",
        "night",
        "wind",
    ),
}


def encyclopedia() -> dict[str, dict[str, str]]:
    """Invented animals, the best known first: name -> trait -> value, fixed for good by a seed."""
    rng = Random(0)
    names = [(a + b + c).capitalize() for a in SYLLABLES for b in SYLLABLES for c in SYLLABLES]
    names.sort(key=lambda _: rng.random())
    return {
        name: {trait: values[int(rng.random() * len(values))] for trait, values in TRAITS.items()}
        for name in names[:ENTITIES]
    }


ANIMALS = encyclopedia()
FACT = Grammar(
    facts={"entity": Rule({name: (rank + 1) ** -ZIPF for rank, name in enumerate(ANIMALS)})}
    | {
        trait: Rule({name: [traits[trait]] for name, traits in ANIMALS.items()}, "entity") for trait in TRAITS
    },
    phrases={
        "fact": Rule(["{entity}{about}"]),
        "about": Rule(
            [
                "{who} {entity}{home} {entity}{food} {entity}{fears}",
                "{who} {entity}{food} {entity}{home} {entity}{fears}",
                "{home} {entity}{food} {entity}{who}",
                "{food} {entity}{fears} {entity}{who}",
                "{fears} {entity}{who} {entity}{home}",
                "{who} {entity}{fears}",
                "{home} {entity}{food}",
            ]
        ),
        "who": Rule([" is a {colour} {beast}."]),
        "home": Rule([" lives in the {den}."]),
        "food": Rule([" eats {diet}."]),
        "fears": Rule([" runs from {fear}."]),
    },
)
