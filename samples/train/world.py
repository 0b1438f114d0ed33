"""Where a training happens: its configuration, its directory, its device, and the model as far as it is
trained.
"""

import functools
import pathlib
import tomllib
from dataclasses import dataclass

import model
import tokenizer
import training


def _over(base, own):
    """The table `base` with what `own` says otherwise."""
    both = {k: _over(base[k], v) if isinstance(v, dict) and k in base else v for k, v in own.items()}
    return {**base, **both}


def configuration(path):
    """The sections of a configuration file. One that is `like` another has what that one has, but for what
    it says itself."""
    sections = tomllib.loads(path.read_text(encoding='utf-8'))
    for name, own in sections.items():
        if 'like' in own:
            sections[name] = _over(sections[own.pop('like')], own)
    return sections


@dataclass(frozen=True, eq=False)
class World:
    settings: dict  # the whole configuration
    work: pathlib.Path
    device: str

    @functools.cached_property
    def vocabulary(self):
        return tokenizer.load()

    def build(self):
        """The whole model as initialised."""
        return model.build(self.vocabulary, self.settings['model'])

    def load(self, part, name):
        """Gives a part of the model the averaged weights of the stage that trained it; whether there are
        any."""
        weights = training.averaged(self.work, name)
        if weights:
            part.load_state_dict(weights)
        return bool(weights)
