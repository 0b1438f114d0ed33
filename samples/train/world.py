"""Where a training happens: its configuration, its directory, its device, and the model as far as it is
trained.
"""

import functools
import pathlib
from dataclasses import dataclass

import model
import tokenizer
import training


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
