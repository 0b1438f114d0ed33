"""Other ways of saying a caption, so that the model does not only understand scenes.py's canonical sentences."""
import re

OPENINGS = ('a picture of ', 'an image of ', 'a drawing of ', 'a photo of ', 'draw ', 'show me ', 'please draw ', 'paint ', 'an illustration of ', 'i want ')
REPLACEMENTS = (
    (' above ', (' over ', ' on top of ')), (' below ', (' under ', ' underneath ')), (' to the left of ', (' left of ', ' on the left of ')),
    (' to the right of ', (' right of ', ' on the right of ')), ('a small ', ('a tiny ', 'a little ')), ('a big ', ('a large ', 'a huge ')),
    ('gray', ('grey',)), ('two ', ('2 ',)), ('three ', ('3 ',)), ('four ', ('4 ',)), (' and ', (' next to ', ' beside ')),
    (' on the left', (' at the left', ' on the left side')), (' on the right', (' at the right', ' on the right side')),
    (' at the top', (' on top', ' at the upper edge')), (' at the bottom', (' on the bottom', ' at the lower edge')),
)


def reword(scene, r):
    """A caption of the scene in other words; half of the possible changes happen."""
    text, background = scene.subject, scene.background
    for old, new in REPLACEMENTS:
        if old in text and r.random() < 0.5:
            text = text.replace(old, r.choice(new))
    if r.random() < 0.3:
        text = re.sub(r'^an? ', '', text)
    if scene.names_background:
        form = r.random()
        if form < 0.4:
            article = 'an' if background[0] in 'aeiou' else 'a'
            text += f' {r.choice(("on", "with", "in front of"))} {article} {background} background'
        else:
            text += f' on {background}' if form < 0.8 else f', {background} background'
        if background == 'gray' and r.random() < 0.5:
            text = text.replace('gray background', 'grey background')
    if r.random() < 0.4:
        text = r.choice(OPENINGS) + text
    if r.random() < 0.4:
        text = text[0].upper() + text[1:]
    if r.random() < 0.3:
        text += '.'
    return text
