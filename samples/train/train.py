"""Trains janus-mini, one stage at a time:

    python train.py codebook|tokenizer            what weights are trained for, made once and kept here
    python train.py paint|draw|see|encode|joint|finetune|polish   a stage; it goes on where it was stopped
    python train.py keep STAGE                    puts a stage's averaged weights into stages/
    python train.py export DIRECTORY              writes the model directory of all stages there are

SIGTERM saves and ends a stage. With --start it begins from kept weights instead of from nothing, at the
step those had.
"""

import argparse
import pathlib

import torch

import codebook
import draw
import encode
import export
import joint
import paint
import see
import tokenizer
import training
from world import World, configuration

STAGES = dict(
    paint=paint.Stage,
    draw=draw.Stage,
    see=see.Stage,
    encode=encode.Stage,
    joint=joint.Stage,
    finetune=joint.Finetune,
    polish=joint.Polish,
)
MADE = dict(codebook=codebook.make, tokenizer=tokenizer.make)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('command', choices=(*MADE, *STAGES, 'keep', 'export'))
    parser.add_argument('what', nargs='?', help='stage to keep, or directory to export to')
    parser.add_argument('--config', type=pathlib.Path, default=pathlib.Path(__file__).parent / 'mini.toml')
    parser.add_argument(
        '--work',
        type=pathlib.Path,
        default=pathlib.Path(__file__).parent / 'work',
        help='for checkpoints and logs',
    )
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    parser.add_argument(
        '--start', type=pathlib.Path, help='kept weights, for instance stages/draw.safetensors'
    )
    options = parser.parse_args()
    settings = configuration(options.config)
    options.work.mkdir(parents=True, exist_ok=True)
    # Stages run side by side, one thread each: two multi-threaded trainings slow each other down fourfold.
    torch.set_num_threads(1)
    if options.command in MADE:
        MADE[options.command](settings[options.command])
        return
    world = World(settings, options.work, options.device)
    if options.command == 'keep':
        training.keep(options.work, options.what)
    elif options.command == 'export':
        export.export(world, pathlib.Path(options.what))
    else:
        stage = STAGES[options.command](settings[options.command], world)
        training.Run(stage, options.command, options.work, options.start).train()


if __name__ == '__main__':
    main()
