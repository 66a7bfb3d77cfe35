"""The tale in English: the ways to tell it."""

from llama_mini.data.stories.english_words import OUTCOMES, SYNONYMS
from llama_mini.data.stories.grammar import Rule
from llama_mini.data.stories.world import FACTS

HOMES = {"pond": "by", "river": "by", "hill": "on", "mill": "near", "oak": "under"}
HOMES = {place: f"{HOMES.get(place, 'in')} the {{place}}" for place in FACTS["place"].rows}


def outcome(topic: str, kind: bool, ending: str, result: int) -> list[str]:
    """How the day turns out."""
    return [OUTCOMES[topic, kind, ending][result]]


PHRASES = {
    **{name: Rule(words) for name, words in SYNONYMS.items()},
    "she": Rule({"she": ["she"], "he": ["he"]}, "pronoun"),
    "her": Rule({"she": ["her"], "he": ["his"]}, "pronoun"),
    "him": Rule({"she": ["her"], "he": ["him"]}, "pronoun"),
    "sized": Rule({"small": ["{small}"], "big": ["{big}"]}, "size"),
    "home": Rule({place: [words] for place, words in HOMES.items()}, "place"),
    "tempered": Rule({True: ["{kindly}"], False: ["{cruel}"]}, "kind"),
    "tale": Rule(["{opening} {trouble}{attempting} {meeting} {outcome} {end} {lesson}"]),
    "opening": Rule(
        [
            "Once there was a {sized} {species} named {hero}. {She} lived {home}.",
            "Once upon a time a {sized} {species} named {hero} lived {home}.",
            "{Hero} was a {sized} {species} who lived {home}.",
            "{Hero} the {species} lived {home}. {She} was {sized}.",
            "There was a {sized} {species} who lived {home}. {Her} name was {hero}.",
            "Long ago a {sized} {species} lived {home}. The {species} was named {hero}.",
            "This is the tale of {hero}. {She} was a {sized} {species} and lived {home}.",
        ]
    ),
    "trouble": Rule(
        [
            "One {chilly} {season} {time} {problem} because {cause}.",
            "One {chilly} {time} in {season} {problem} because {cause}.",
            "It was a {chilly} {time} in {season}. {Problem} because {cause}.",
            "But on a {chilly} {season} {time} {problem} because {cause}.",
            "In {season} there was trouble. {Problem} because {cause}.",
            "Then, one {chilly} {season} {time}, {problem} because {cause}.",
        ]
    ),
    "chilly": Rule(
        {
            "spring": ("mild", "fresh", "grey"),
            "summer": ("hot", "dry", "long", "bright"),
            "autumn": ("windy", "grey", "cool", "dark"),
            "winter": ("cold", "frosty", "white", "dark"),
        },
        "season",
    ),
    "time": Rule({"morning": 3, "day": 3, "afternoon": 2, "evening": 1}),
    "attempting": Rule(
        {
            False: [""],
            True: (
                " {Hero} was {afraid}. {She} {attempt}.",
                " {She} was {afraid} and {attempt}.",
                " First {she} {attempt}.",
                " {Hero} felt {afraid}. At first {she} {attempt}.",
                " So {hero} {attempt}.",
                " The {species} was {afraid} and {attempt}.",
            ),
        },
        "tried",
    ),
    "meeting": Rule(
        [
            "Then a {tempered} {helper} {walked} by and {act}.",
            "A {tempered} {helper} {saw} {hero} and {act}.",
            "Then {hero} {saw} a {helper}. The {tempered} {helper} {act}.",
            "After a while a {helper} {walked} by. {Speech} The {tempered} {helper} {act}.",
            "At last a {helper} {saw} the {species}. {Speech} Then the {tempered} {helper} {act}.",
            "A {tempered} {helper} {walked} along the road. {Speech} Then the {helper} {act}.",
        ]
    ),
    "speech": Rule(['"{line}," {said} the {helper}.', 'The {helper} {said}: "{line}."']),
    "line": Rule(
        {
            True: ("Do not worry", "Come to me", "I will help you", "You are safe now", "You poor {species}"),
            False: (
                "Go away",
                "You are a bad {species}",
                "Nobody wants you here",
                "I do not like you",
                "You silly {species}",
            ),
        },
        "kind",
    ),
    "outcome": Rule(outcome, "topic", "kind", "ending", "result"),
    "end": Rule(
        {
            "happy": (
                "{Hero} was {happy} again.",
                "In the end {hero} was a {happy} {species}.",
                "{She} felt {happy} and slept well {home}.",
                "That night a {happy} {species} slept {home}.",
                "From that day on {she} was {happy} {home}.",
            ),
            "sad": (
                "{Hero} was {sad} for a long time.",
                "In the end {hero} was a {sad} {species}.",
                "{She} felt {sad} and could not sleep {home}.",
                "That night a {sad} {species} lay awake {home}.",
                "From that day on {she} was {sad} {home}.",
            ),
        },
        "ending",
    ),
    "lesson": Rule(
        ["So remember: {moral}.", "The moral is: {moral}.", "And so we learn: {moral}.", "{Moral}."]
    ),
}
