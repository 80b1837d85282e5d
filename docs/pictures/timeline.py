#!/usr/bin/python3
"""timeline.py < TRACE > PICTURE.svg - what `penstock trace` prints for ui.perfetto.dev, as a picture of a page: a lane for each device
and for its copies, and arrows from what was waited for."""
import html
import json
import math
import re
import sys

LEFT, RIGHT, TOP, LANE, BAR = 120, 16, 8, 30, 20
WIDTH = 760
COLOURS = ('#ffffb3', '#bebada', '#fb8072', '#80b1d3', '#fdb462', '#b3de69')  # as the graph's, of a session's first device


def step_of(length):
    """About eight of it, a round number."""
    power = 10 ** math.floor(math.log10(length / 8))
    return next(power * factor for factor in (1, 2, 5, 10) if length / (power * factor) <= 8)


def text(x, y, what, anchor='start', size=11):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{html.escape(what)}</text>'


def draw(events):
    lanes = {event['tid']: re.search(r'part .*', event['args']['name'])[0] for event in events if event['ph'] == 'M'}
    order = sorted(lanes, key=lambda lane: (lanes[lane].split(',')[0], 'copies' not in lanes[lane]))
    top = {lane: TOP + LANE * i for i, lane in enumerate(order)}
    bars = [event for event in events if event['ph'] == 'X']
    end = max(bar['ts'] + bar['dur'] for bar in bars)
    bottom = TOP + LANE * len(order)

    def x(microseconds):
        return LEFT + (WIDTH - LEFT - RIGHT) * microseconds / end

    yield (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{bottom + 24}" viewBox="0 0 {WIDTH} {bottom + 24}" '
           'font-family="sans-serif">')
    yield '<defs><marker id="head" viewBox="0 0 6 6" refX="6" refY="3" markerWidth="6" markerHeight="6" orient="auto">' \
          '<path d="M0 0L6 3L0 6z" fill="#555"/></marker></defs>'
    yield f'<rect width="{WIDTH}" height="{bottom + 24}" fill="white"/>'
    step = step_of(end)
    for i in range(int(end / step) + 1):
        yield f'<path d="M{x(i * step):.1f} {TOP}V{bottom}" stroke="#ddd"/>'
        yield text(x(i * step), bottom + 14, f'{i * step / 1000:g} ms', 'middle')
    for lane in order:
        yield f'<g class="lane">{text(LEFT - 8, top[lane] + LANE / 2 + 4, lanes[lane], "end")}</g>'
    places = sorted({lanes[lane].split(',')[0] for lane in order})
    for bar in bars:
        left, wide = x(bar['ts']), max(1.5, x(bar['ts'] + bar['dur']) - x(bar['ts']))
        colour = COLOURS[places.index(lanes[bar['tid']].split(',')[0]) % len(COLOURS)]
        number = bar['args'].get('command')
        name = bar['name'] if number is None else f'{bar["name"]} {number}'
        y = top[bar['tid']] + (LANE - BAR) / 2
        yield f'<g class="bar"><title>{html.escape(name)}</title>' \
              f'<rect x="{left:.1f}" y="{y}" width="{wide:.1f}" height="{BAR}" fill="{colour}" stroke="#333" stroke-width="0.6"/>'
        if wide > 7 * len(name):
            yield text(left + wide / 2, y + BAR / 2 + 4, name, 'middle')
        yield '</g>'
    begins = {event['id']: event for event in events if event['ph'] == 's'}
    for event in events:
        if event['ph'] != 'f' or begins[event['id']]['tid'] == event['tid']:
            continue  # within a lane the bars say it
        begin = begins[event['id']]
        down = top[event['tid']] > top[begin['tid']]
        yield (f'<path d="M{x(begin["ts"]):.1f} {top[begin["tid"]] + (LANE + BAR if down else LANE - BAR) / 2}'
               f'L{x(event["ts"]):.1f} {top[event["tid"]] + (LANE - BAR if down else LANE + BAR) / 2}" stroke="#555" '
               'marker-end="url(#head)"/>')
    yield '</svg>'


if __name__ == '__main__':
    print('\n'.join(draw(json.load(sys.stdin)['traceEvents'])))
