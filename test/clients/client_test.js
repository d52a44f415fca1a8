// KyroDB asked by @grpc/grpc-js: the calls that people make, streams both ways, an error, a deadline.
//
// usage: node client_test.js ADDRESS PROTO_DIRECTORY   (with @grpc/grpc-js and @grpc/proto-loader)
'use strict';

const assert = require('assert');
const path = require('path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [address, protos] = process.argv.slice(2);
const definition = loader.loadSync(path.join(protos, 'kyrodb.proto'), { longs: String, keepCase: true, defaults: true });
const { kyrodb } = grpc.loadPackageDefinition(definition);
const unlimited = { 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 };
const kv = new kyrodb.v1.KV(address, grpc.credentials.createInsecure(), unlimited);

function call(method, request, options = {}) {
  return new Promise((resolve, reject) => {
    kv[method](request, options, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

function all(stream) {
  return new Promise((resolve, reject) => {
    const seen = [];
    stream.on('data', (item) => seen.push(item));
    stream.on('end', () => resolve(seen));
    stream.on('error', reject);
  });
}

async function fails(code, promise) {
  await assert.rejects(promise, (error) => {
    assert.strictEqual(error.code, code, error.message);
    return true;
  });
}

async function main() {
  const largest = '18446744073709551615';
  const written = await call('Put', { key: largest, value: Buffer.from('edge') });
  assert.strictEqual(written.created, true);
  const got = await call('Get', { key: largest });
  assert.strictEqual(got.value.toString(), 'edge');
  assert.strictEqual(got.offset, written.offset);
  await fails(grpc.status.NOT_FOUND, call('Get', { key: 404 }));
  await fails(grpc.status.ABORTED, call('Put', { key: largest, value: Buffer.from('x'), condition: { absent: true } }));

  const big = Buffer.alloc(8 << 20, 'b');
  await call('Put', { key: 8, value: big });
  assert.ok((await call('Get', { key: 8 })).value.equals(big));

  const operations = [];
  for (let key = 100; key < 150; ++key) operations.push({ put: { key, value: Buffer.from(String(key)) } });
  assert.strictEqual((await call('Write', { operations })).count, '50');
  const records = await all(kv.Scan({ first: 100, end: 150 }));
  assert.deepStrictEqual(records.map((r) => r.key), operations.map((o) => String(o.put.key)));
  const { items } = await call('MultiGet', { keys: [100, 999] });
  assert.deepStrictEqual(items.map((i) => i.found), [true, false]);

  const puts = kv.PutStream();
  const answered = all(puts);
  for (let key = 200; key < 300; ++key) puts.write({ key, value: Buffer.from('s') });
  puts.end();
  const answers = await answered;
  assert.strictEqual(answers.length, 100);
  assert.ok(answers.every((a) => a.code === 0));

  const subscription = kv.Subscribe({ from_offset: written.offset });
  const first = await new Promise((resolve, reject) => {
    subscription.once('data', resolve);
    subscription.once('error', reject);
  });
  assert.strictEqual(first.key, largest);
  subscription.on('error', () => {});
  subscription.cancel();

  const late = kv.Subscribe({}, { deadline: Date.now() + 300 });
  await fails(grpc.status.DEADLINE_EXCEEDED, all(late));
  kv.close();
  console.log('all of it');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
