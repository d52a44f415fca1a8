#!/usr/bin/env python3
"""What is near here? Places are stored under the cell of a Hilbert curve that they lie in.

    geo_cells.py URL load PLACES.ndjson       lines {"key":CELL,"value":"{…,\"lon\":…,\"lat\":…}"}
    geo_cells.py URL near LON LAT KM          the places within KM, the nearest first
    geo_cells.py URL cell LON LAT             the cell of a point

The curve walks through every square of the map before it leaves it, so a square is one range of
keys, and a circle is covered by a few squares: a few range scans, /v1/scan, and a look at each place
that they find. A store that hashes its keys would have to read every place. Only Python's standard
library is used.
"""

import http.client
import json
import math
import sys
import urllib.parse

BITS = 32                    # of each axis; a cell is 64 bits
RANGES = 24                  # a circle is covered by so many ranges at most
EARTH_KM = 6371.0088


def cell_of(x, y):
    """The place on the curve of a square of the finest grid, quadrant by quadrant."""
    cell, last = 0, (1 << BITS) - 1
    for bit in range(BITS - 1, -1, -1):
        right, upper = x >> bit & 1, y >> bit & 1
        cell = cell << 2 | (3 * right ^ upper)
        if not upper:
            if right:
                x, y = last - x, last - y
            x, y = y, x
    return cell


def grid(value, low, span):
    return min(max(int((value - low) / span * (1 << BITS)), 0), (1 << BITS) - 1)


def cell(lon, lat):
    return cell_of(grid(lon, -180, 360), grid(lat, -90, 180))


def cover(west, south, east, north):
    """Ranges of cells, ascending, (first, last), that together cover a box."""
    left, right = grid(west, -180, 360), grid(east, -180, 360)
    low, high = grid(south, -90, 180), grid(north, -90, 180)
    squares, whole = [(0, 0, BITS)], []
    # Divides the largest square that is not wholly inside, as long as the number allows.
    while squares and len(squares) + len(whole) < RANGES:
        squares.sort(key=lambda square: square[2])
        x, y, bits = squares.pop()
        if bits == 0:
            squares.append((x, y, bits))
            break
        half = 1 << (bits - 1)
        for child in ((x, y), (x, y + half), (x + half, y), (x + half, y + half)):
            ends = child[0] + half - 1, child[1] + half - 1
            if child[0] > right or ends[0] < left or child[1] > high or ends[1] < low:
                continue
            inside = left <= child[0] and ends[0] <= right and low <= child[1] and ends[1] <= high
            (whole if inside else squares).append((*child, bits - 1))
    ranges = []
    for x, y, bits in squares + whole:
        size = 1 << (2 * bits)
        first = cell_of(x, y) & ~(size - 1)
        ranges.append((first, first + size - 1))
    joined = []
    for first, last in sorted(ranges):
        if joined and joined[-1][1] + 1 == first:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined


def distance_km(lon, lat, other_lon, other_lat):
    a, b = math.radians(lat), math.radians(other_lat)
    turn = math.radians(other_lon - lon)
    half = math.sin((b - a) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(turn / 2) ** 2
    return 2 * EARTH_KM * math.asin(min(1, math.sqrt(half)))


def boxes(lon, lat, km):
    """The circle's box; two where it crosses the date line, the whole turn at a pole."""
    up = math.degrees(km / EARTH_KM)
    south, north = lat - up, lat + up
    if south <= -90 or north >= 90:
        return [(-180, max(south, -90), 180, min(north, 90))]
    aside = math.degrees(math.asin(min(1, math.sin(math.radians(up)) / math.cos(math.radians(lat)))))
    west, east = lon - aside, lon + aside
    if west < -180:
        return [(-180, south, east, north), (west + 360, south, 180, north)]
    if east > 180:
        return [(west, south, 180, north), (-180, south, east - 360, north)]
    return [(west, south, east, north)]


class Store:
    def __init__(self, url):
        self.connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc)

    def ask(self, method, path, body=None, headers=None):
        self.connection.request(method, path, body, headers or {})
        answer = self.connection.getresponse()
        if answer.status != 200:
            sys.exit('geo_cells: %s: %d %s' % (path, answer.status, answer.read().decode()))
        return answer

    def scan(self, first, last):
        """The places of a range of cells, one after the other, however many there are."""
        end = '' if last == 2**64 - 1 else '&end=%d' % (last + 1)
        answer = self.ask('GET', '/v1/scan?start=%d%s' % (first, end), None,
                          {'Accept': 'application/x-ndjson'})
        is_complete = False
        for line in answer:
            item = json.loads(line)
            if 'complete' in item:
                is_complete = item['complete']
            else:
                yield json.loads(item['value'])
        answer.read()  # nothing any more: the connection may be used again
        if not is_complete:
            sys.exit('geo_cells: the answer was cut short')


def load(store, path):
    count, lines = 0, []

    def send():
        store.ask('POST', '/v1/batch', '\n'.join(lines).encode(),
                  {'Content-Type': 'application/x-ndjson'}).read()
        lines.clear()

    with open(path, encoding='utf-8') as file:
        for line in file:
            lines.append('{"op":"put",' + line.strip()[1:])
            count += 1
            if len(lines) == 1000:
                send()
    if lines:
        send()
    print('%d places' % count)


def near(store, lon, lat, km):
    found, looked_at, ranges = [], 0, 0
    for box in boxes(lon, lat, km):
        for first, last in cover(*box):
            ranges += 1
            for place in store.scan(first, last):
                looked_at += 1
                away = distance_km(lon, lat, place['lon'], place['lat'])
                if away <= km:
                    found.append((away, place['id'], place))
    for away, _, place in sorted(found, key=lambda one: one[:2]):
        print('%.1f km  %s, %s' % (away, place['name'], place['country']))
    print('%d ranges, %d places looked at, %d within %g km' % (ranges, looked_at, len(found), km),
          file=sys.stderr)


def main(words):
    try:
        if len(words) == 3 and words[1] == 'load':
            load(Store(words[0]), words[2])
        elif len(words) == 5 and words[1] == 'near':
            near(Store(words[0]), *map(float, words[2:]))
        elif len(words) == 4 and words[1] == 'cell':
            print(cell(*map(float, words[2:])))
        else:
            sys.exit(__doc__)
    except ValueError as error:
        sys.exit('geo_cells: %s' % error)


if __name__ == '__main__':
    main(sys.argv[1:])
