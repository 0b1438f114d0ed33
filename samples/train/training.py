"""What both trainings share: optimisers, schedule, averaged weights, checkpoints one can stop at and continue from, a CSV log.

The schedule follows the process's CPU time, so that a training which shares its core, or is stopped and continued, still ends
where it was meant to. SIGTERM saves and leaves; `--minutes` may differ on the next start (more trains further).

Under torchrun's environment (RANK, WORLD_SIZE, ...) several processes train one model, each on its own examples: a process per
core, because threads of one process wait for each other at every operation and lose most when cores are shared."""
import argparse
import os
import pathlib
import random
import signal
import time

import torch
import torch.distributed

from muon import Muon

SAVE_EVERY = 180  # seconds
LOG_EVERY = 5  # steps
SLOW = 0.2


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('work', type=pathlib.Path, help='directory of tokenizer.json and the checkpoints')
    parser.add_argument('--minutes', type=float, required=True, help='CPU minutes the whole training takes, including those before a continuation')
    parser.add_argument('--batch', type=int, required=True)
    parser.add_argument('--lr', type=float, default=3e-3, help='of AdamW: embeddings, the layers that read or write codes and pixels, biases, norms')
    parser.add_argument('--muon', type=float, default=0.02, help="Muon's learning rate; 0 leaves everything to AdamW")
    parser.add_argument('--start', type=pathlib.Path, help='model directory whose weights to start from, instead of new ones')
    parser.add_argument('--name', help='of the checkpoint and the log')
    return parser


class Run:
    """One training: `module` holds all that is trained. Use: while run.going(): loss = ...; run.update(loss)."""

    def __init__(self, options, name, module, matrices, columns, average=0.998, slow=()):
        """`matrices` are for Muon; `slow` parameters, already trained, move at SLOW of the learning rates."""
        torch.manual_seed(0)
        self.options, self.module, self.average = options, module, average
        name = options.name or name
        self.path, self.log_path, self.columns = options.work / f'{name}.pt', options.work / f'{name}.csv', columns
        self.random = random.Random(3)
        self.step = self.seen = 0
        self.seconds, self.clock, self.stopped = 0.0, time.process_time(), False
        matrices, slow = {id(p) for p in matrices} if options.muon else set(), {id(p) for p in slow}
        self.optimisers = []
        for kind, peak in ((torch.optim.AdamW, options.lr), (Muon, options.muon)):
            those = [p for p in module.parameters() if (id(p) in matrices) == (kind is Muon)]
            groups = [dict(params=[p for p in those if (id(p) in slow) == is_slow], peak=peak * (SLOW if is_slow else 1)) for is_slow in (False, True)]
            if groups := [group for group in groups if group['params']]:
                more = {} if kind is Muon else dict(betas=(0.9, 0.97), weight_decay=0.0)
                self.optimisers.append(kind(groups, lr=peak, **more))
        self.averaged = {k: v.clone() for k, v in module.state_dict().items()}
        if self.path.exists():
            self._load()
        self.rank, self.ranks = int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1))
        if self.ranks > 1:
            torch.distributed.init_process_group('gloo')
            self.random.seed(f'{self.step} {self.rank}')
        self.saved = time.time()
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, 'stopped', True))

    @property
    def progress(self):
        return self.seconds / (self.options.minutes * 60)

    def going(self):
        if self.stopped or self.progress >= 1:
            self.save()
            return False
        if time.time() - self.saved > SAVE_EVERY:
            self.save()
        factor = min(1, (self.step + 1) / 50, max(0.01, (1 - self.progress) / 0.75))
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group['lr'] = group['peak'] * factor
        return True

    def update(self, loss, pictures, *figures):
        loss.backward()
        self._agree()
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
        self.module.zero_grad(set_to_none=True)
        self.step += 1
        self.seen += pictures * self.ranks
        with torch.no_grad():
            # A short memory at first: an average over the whole start would only show the start.
            keep = min(self.average, self.step / (self.step + 10))
            for k, v in self.module.state_dict().items():
                self.averaged[k].lerp_(v, 1 - keep) if v.is_floating_point() else self.averaged[k].copy_(v)
        if self.step % LOG_EVERY == 0 and self.rank == 0:
            new = not self.log_path.exists()
            with open(self.log_path, 'a') as log:
                if new:
                    log.write(','.join(('step', 'pictures', 'cpu_seconds', 'loss', *self.columns)) + '\n')
                log.write(','.join((str(self.step), str(self.seen), f'{self.seconds:.0f}', f'{loss.item():.4f}', *(f'{f:.4f}' for f in figures))) + '\n')

    def _agree(self):
        """Averages gradients over the processes, and with them what the schedule depends on."""
        now = time.process_time()
        self.seconds, self.clock = self.seconds + now - self.clock, now
        if self.ranks == 1:
            return
        gradients = [p.grad for p in self.module.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients] + [torch.tensor([self.seconds, float(self.stopped)])])
        torch.distributed.all_reduce(flat)
        flat /= self.ranks
        for g, part in zip(gradients, flat[:-2].split([g.numel() for g in gradients])):
            g.copy_(part.view_as(g))
        self.seconds, self.stopped = flat[-2].item(), flat[-1].item() > 0

    def save(self):
        if self.rank > 0:
            return
        state = dict(module=self.module.state_dict(), averaged=self.averaged, optimisers=[o.state_dict() for o in self.optimisers],
                     random=self.random.getstate(), torch_random=torch.get_rng_state(), step=self.step, seen=self.seen, seconds=self.seconds)
        torch.save(state, self.path.with_suffix('.new'))
        os.replace(self.path.with_suffix('.new'), self.path)
        self.saved = time.time()

    def _load(self):
        state = torch.load(self.path, weights_only=False)
        self.module.load_state_dict(state['module'])
        self.averaged = state['averaged']
        for optimiser, saved in zip(self.optimisers, state['optimisers']):
            peaks = [group['peak'] for group in optimiser.param_groups]
            optimiser.load_state_dict(saved)
            for group, peak in zip(optimiser.param_groups, peaks):
                group['peak'] = peak
        self.random.setstate(state['random'])
        torch.set_rng_state(state['torch_random'])
        self.step, self.seen, self.seconds = state['step'], state['seen'], state['seconds']
