#!/usr/bin/env python3
"""A feature store: a file of feature vectors comes every night, models read vectors by id all day.

    feature_store.py URL load NIGHTLY.csv     the header names the features, the first column is the id
    feature_store.py URL get ID...            the vectors of these ids, a JSON line each
    feature_store.py URL which                the night that is being served

A night is a generation: its number stands in the upper 24 bits of the key, the id in the lower 40, so
a load touches nothing that anybody reads. When all of it is stored and durable, one conditional
write to one key swaps it in, for all readers at once; a load that breaks off has changed nothing
they see. Generations expire by themselves. Only Python's standard library is used.
"""

import base64
import csv
import http.client
import json
import struct
import sys
import urllib.parse

CURRENT = 2**64 - 1          # the key of what is served: {"generation": n, "features": [names]}
ID_BITS = 40
KEPT_SECS = 3 * 86400        # a night is there for so long, to go back to
BATCH_LINES = 1000


class Store:
    def __init__(self, url):
        self.connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc)

    def ask(self, method, path, body=None, **headers):
        """(status, headers, body)"""
        self.connection.request(method, path, body, {k.replace('_', '-'): v for k, v in headers.items()})
        answer = self.connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def must(self, method, path, body=None, **headers):
        status, answer, text = self.ask(method, path, body, **headers)
        if status >= 300:
            sys.exit('feature_store: %s %s: %d %s' % (method, path, status, text.decode(errors='replace')))
        return answer, text

    def current(self):
        """What is served and its version; (None, None) before the first night."""
        status, headers, text = self.ask('GET', '/v1/kv/%d' % CURRENT)
        return (json.loads(text), headers['ETag']) if status == 200 else (None, None)


def put_line(generation, number, values):
    if not 0 <= number < 1 << ID_BITS:
        raise ValueError('an id is a number below 2^%d, not %d' % (ID_BITS, number))
    vector = struct.pack('<%df' % len(values), *values)
    return json.dumps({'op': 'put', 'key': generation << ID_BITS | number, 'ttl_secs': KEPT_SECS,
                       'value_base64': base64.b64encode(vector).decode()})


def load(store, path):
    served, version = store.current()
    generation = served['generation'] + 1 if served else 1
    count, lines = 0, []
    with open(path, newline='') as file:
        rows = csv.reader(file)
        features = next(rows)[1:]
        for row in rows:
            try:
                if len(row) != 1 + len(features):
                    raise ValueError('%d columns, not %d' % (len(row), 1 + len(features)))
                lines.append(put_line(generation, int(row[0]), [float(value) for value in row[1:]]))
            except ValueError as error:
                sys.exit('feature_store: %s, line %d: %s; nothing was swapped in'
                         % (path, rows.line_num, error))
            if len(lines) == BATCH_LINES:
                store.must('POST', '/v1/batch', '\n'.join(lines), Content_Type='application/x-ndjson')
                count, lines = count + len(lines), []
    if lines:
        store.must('POST', '/v1/batch', '\n'.join(lines), Content_Type='application/x-ndjson')
        count += len(lines)
    # Only if nobody else has swapped in another night meanwhile: else 412.
    condition = {'If_Match': version} if version else {'If_None_Match': '*'}
    store.must('PUT', '/v1/kv/%d' % CURRENT,
               json.dumps({'generation': generation, 'features': features}), **condition)
    print('night %d: %d vectors of %d features' % (generation, count, len(features)))


def get(store, numbers):
    served, _ = store.current()
    if not served:
        sys.exit('feature_store: no night was loaded yet')
    keys = [served['generation'] << ID_BITS | number for number in numbers]
    # All as of one moment, in one request: keys of 8 bytes in; a length and a value for each out.
    _, answer = store.must('POST', '/v1/mget', struct.pack('<%dQ' % len(keys), *keys),
                           Content_Type='application/octet-stream')
    at = 0
    for number in numbers:
        length, = struct.unpack_from('<I', answer, at)
        at += 4
        vector = None
        if length != 2**32 - 1:
            values = struct.unpack_from('<%df' % (length // 4), answer, at)
            vector = dict(zip(served['features'], (round(value, 6) for value in values)))
            at += length
        print(json.dumps({'id': number, 'features': vector}))


def main(words):
    if len(words) == 3 and words[1] == 'load':
        load(Store(words[0]), words[2])
    elif len(words) > 2 and words[1] == 'get' and all(word.isdigit() for word in words[2:]):
        get(Store(words[0]), [int(word) for word in words[2:]])
    elif len(words) == 2 and words[1] == 'which':
        print(json.dumps(Store(words[0]).current()[0]))
    else:
        sys.exit(__doc__)


if __name__ == '__main__':
    main(sys.argv[1:])
