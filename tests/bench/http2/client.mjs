// Asks an API as several workers of Node's http2; standard input says what (see make.py).
import { readFileSync } from 'node:fs'
import http2 from 'node:http2'

const spec = JSON.parse(readFileSync(0, 'utf8'))
const url = new URL(spec.url)
const session = http2.connect(url.origin, { rejectUnauthorized: false })
const sleep = (ms) => new Promise((done) => setTimeout(done, ms))
const ask = (body) => new Promise((done) => {
  const stream = session.request({
    ':method': 'POST', ':path': url.pathname, 'content-type': 'application/json', authorization: 'Bearer sk-0123456789abcdef0123456789abcdef', accept: '*/*',
    'content-length': Buffer.byteLength(body),
  })
  stream.on('close', done)
  stream.on('error', done)
  stream.resume()
  stream.end(body)
})
const todo = spec.requests
await Promise.all(Array.from({ length: spec.workers }, async () => {
  for (let next = todo.shift(); next; next = todo.shift()) {
    await sleep(next.wait_ms)
    await ask(next.body)
  }
}))
session.close()
