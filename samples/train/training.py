"""What all stages share: optimisers, a schedule that follows the step, averaged weights, validation, a CSV log
with its plot, and checkpoints that a stage goes on from, on the same machine bit for bit as if it had never
stopped: all that is random about a batch comes from generators whose state is kept.
"""

import csv
import os
import pathlib
import random
import signal
import time

import matplotlib
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from muon import Muon

matplotlib.use('Agg')
from matplotlib import pyplot  # noqa: E402  which reads what is set above

LOG_EVERY = 10  # steps
WARM_UP = 50  # steps, also after a start from weights alone
SLOW = 0.2  # of the learning rates, for what is already trained
STAGES = pathlib.Path(__file__).parent / 'stages'


def kept(name):
    """Where a stage's averaged weights are that are kept in the repository."""
    return STAGES / f'{name}.safetensors'


def averaged(work, name):
    """A stage's averaged weights: those in the work directory, else those in the repository, else None."""
    if (work / f'{name}.pt').exists():
        return torch.load(work / f'{name}.pt', weights_only=False, map_location='cpu')['averaged']
    return {k: v.float() for k, v in load_file(kept(name)).items()} if kept(name).exists() else None


def keep(work, name):
    """Puts a stage's averaged weights into the repository, with the step that a start goes on from."""
    state = torch.load(work / f'{name}.pt', weights_only=False, map_location='cpu')
    weights = {
        k: v.to(torch.bfloat16).contiguous() if v.is_floating_point() else v
        for k, v in state['averaged'].items()
    }
    kept(name).parent.mkdir(exist_ok=True)
    save_file(weights, kept(name), {key: str(round(state[key])) for key in ('step', 'seen', 'seconds')})
    kept(name).chmod(0o644)
    for log in ('', '-validation'):
        if (work / f'{name}{log}.csv').exists():
            kept(name + log).with_suffix('.csv').write_bytes((work / f'{name}{log}.csv').read_bytes())
    print(kept(name), kept(name).stat().st_size)


class Stage:
    """One training: what is trained, on what, and how well it goes. Each has a `module` with matrices() for
    Muon, and names the figures that loss() and validate() give."""

    columns = checks = ()

    def __init__(self, settings, device):
        self.settings, self.device = settings, torch.device(device)
        self.random = random.Random(settings['seed'])

    def slow(self):
        """Parameters that are already trained and move less."""
        return ()

    def loss(self, progress):
        """The next batch's loss, how many pictures it is, and figures."""
        raise NotImplementedError

    def validate(self):
        """Figures on scenes that are never trained on."""
        raise NotImplementedError

    def autocast(self):
        return torch.autocast(self.device.type, torch.bfloat16)

    def state(self):
        """The place in the data."""
        return dict(random=self.random.getstate())

    def restore(self, state):
        self.random.setstate(state['random'])

    def skip(self, step):
        """Goes on with other data than the first steps had."""
        self.random.seed(f"{self.settings['seed']} {step}")


class Run:
    """Trains a stage: settings are its section of the configuration."""

    def __init__(self, stage, name, work, start=None):
        self.stage, self.module, self.settings, self.work, self.name = (
            stage,
            stage.module,
            stage.settings,
            work,
            name,
        )
        self.path = work / f'{name}.pt'
        self.step = self.first = self.seen = 0
        self.seconds, self.clock, self.stopped = 0.0, time.process_time(), False
        self.optimisers = self._optimisers()
        torch.manual_seed(self.settings['seed'])  # whatever was drawn from it to prepare the stage
        if self.path.exists():
            self._load()
        else:
            if start:
                self._start(start)
            self.averaged = {k: v.clone() for k, v in self.module.state_dict().items()}
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, 'stopped', True))

    def _optimisers(self):
        """Muon for the matrices, AdamW for embeddings, the layers that read or write codes and pixels,
        biases and norms."""
        matrices = {id(p) for p in self.module.matrices()}
        slow = {id(p) for p in self.stage.slow()}
        result = []
        for kind, peak, more in (
            (torch.optim.AdamW, self.settings['rate'], dict(betas=(0.9, 0.97), weight_decay=0.0)),
            (Muon, self.settings['muon'], {}),
        ):
            those = [p for p in self.module.parameters() if (id(p) in matrices) == (kind is Muon)]
            groups = [
                dict(
                    params=[p for p in those if (id(p) in slow) == is_slow],
                    peak=peak * (SLOW if is_slow else 1),
                )
                for is_slow in (False, True)
            ]
            if groups := [group for group in groups if group['params']]:
                result.append(kind(groups, lr=peak, **more))
        return result

    @property
    def progress(self):
        return self.step / self.settings['steps']

    def train(self):
        """To the last step, or until SIGTERM."""
        saved = time.time()
        while not self.stopped and self.step < self.settings['steps']:
            self._step()
            if self.step % self.settings['validate_every'] == 0 or self.step == self.settings['steps']:
                self._validate()
            if time.time() - saved > self.settings['save_seconds']:
                self.save()
                saved = time.time()
        self.save()

    def _step(self):
        self.module.train()
        warm, fall = (self.step - self.first + 1) / WARM_UP, (1 - self.progress) / self.settings['fall']
        factor = min(1, warm, max(0.01, fall))
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group['lr'] = group['peak'] * factor
        loss, pictures, figures = self.stage.loss(self.progress)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
        self.module.zero_grad(set_to_none=True)
        self.step += 1
        self.seen += pictures
        self._average()
        now = time.process_time()
        self.seconds, self.clock = self.seconds + now - self.clock, now
        if self.step % LOG_EVERY == 0:
            self._log('', ('loss', *self.stage.columns), (loss, *figures))

    @torch.no_grad()
    def _average(self):
        # A short memory at first: an average over the whole start would only show the start.
        steps = self.step - self.first
        memory = min(self.settings['average'], steps / (steps + 10))
        for k, v in self.module.state_dict().items():
            self.averaged[k].lerp_(v, 1 - memory) if v.is_floating_point() else self.averaged[k].copy_(v)

    def _validate(self):
        """On the averaged weights, which are the ones that are kept."""
        own = {k: v.clone() for k, v in self.module.state_dict().items()}
        self.module.load_state_dict(self.averaged)
        self.module.eval()
        with torch.no_grad():
            figures = self.stage.validate()
        self.module.load_state_dict(own)
        self._log('-validation', self.stage.checks, figures)
        self._plot()

    def _log(self, kind, columns, figures):
        path = self.work / f'{self.name}{kind}.csv'
        row = [self.step, self.seen, round(self.seconds), *(f'{torch.as_tensor(f).item():.4f}' for f in figures)]
        new = not path.exists()
        with open(path, 'a', newline='', encoding='utf-8') as file:
            writer = csv.writer(file, lineterminator='\n')
            writer.writerows([('step', 'pictures', 'cpu_seconds', *columns), row] if new else [row])

    def _rows(self, kind):
        path = self.work / f'{self.name}{kind}.csv'
        if not path.exists():
            return [], []
        with open(path, encoding='utf-8') as file:
            header, *rows = csv.reader(file)
        return header, rows

    def _plot(self):
        """A curve for every column: what is trained on in gray, what is held out in colour."""
        curves = []
        for kind, colour in (('', 'gray'), ('-validation', 'tab:blue')):
            header, rows = self._rows(kind)
            steps = [int(row[0]) for row in rows]
            curves += [
                (name, colour, steps, [float(row[i]) for row in rows])
                for i, name in enumerate(header)
                if i > 2
            ]
        figure, axes = pyplot.subplots(1, len(curves), figsize=(3 * len(curves), 2.6), layout='constrained')
        for axis, (name, colour, steps, values) in zip(np.atleast_1d(axes), curves):
            axis.plot(steps, values, color=colour, linewidth=1)
            axis.set_title(name, fontsize=9)
        figure.savefig(self.work / f'{self.name}.png', dpi=80)
        pyplot.close(figure)

    def save(self):
        """Written beside the old one, synced, then put in its place: a machine that stops leaves one or the
        other."""
        state = dict(
            module=self.module.state_dict(),
            averaged=self.averaged,
            optimisers=[o.state_dict() for o in self.optimisers],
            stage=self.stage.state(),
            python_random=random.getstate(),
            numpy_random=np.random.get_state(),
            torch_random=torch.get_rng_state(),
            step=self.step,
            first=self.first,
            seen=self.seen,
            seconds=self.seconds,
        )
        new = self.path.with_suffix('.new')
        with open(new, 'wb') as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def _load(self):
        state = torch.load(self.path, weights_only=False, map_location='cpu')
        self.module.load_state_dict(state['module'])
        self.averaged = {k: v.to(self.stage.device) for k, v in state['averaged'].items()}
        for optimiser, saved in zip(self.optimisers, state['optimisers']):
            peaks = [group['peak'] for group in optimiser.param_groups]
            optimiser.load_state_dict(saved)
            for group, peak in zip(optimiser.param_groups, peaks):
                group['peak'] = peak  # the configuration's, which may have changed
        self.stage.restore(state['stage'])
        random.setstate(state['python_random'])
        np.random.set_state(state['numpy_random'])
        torch.set_rng_state(state['torch_random'])
        for name in ('step', 'first', 'seen', 'seconds'):
            setattr(self, name, state[name])
        for kind in ('', '-validation'):  # what was logged after the checkpoint comes again
            header, rows = self._rows(kind)
            if header:
                with open(self.work / f'{self.name}{kind}.csv', 'w', newline='', encoding='utf-8') as file:
                    csv.writer(file, lineterminator='\n').writerows(
                        [header, *(r for r in rows if int(r[0]) <= self.step)]
                    )

    def _start(self, path):
        """From kept weights: the schedule goes on where they were, the optimisers begin anew."""
        self.module.load_state_dict(
            {k: v.float() if v.is_floating_point() else v for k, v in load_file(path).items()}
        )
        with safe_open(path, 'pt') as file:
            done = file.metadata()
        self.step = self.first = int(done['step'])
        self.seen, self.seconds = int(done['seen']), float(done['seconds'])
        self.stage.skip(self.step)
        for kind in ('', '-validation'):
            log = path.with_name(path.stem + kind + '.csv')
            if log.exists():
                (self.work / f'{self.name}{kind}.csv').write_bytes(log.read_bytes())
