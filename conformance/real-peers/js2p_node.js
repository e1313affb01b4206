'use strict';

// One real js2p node as a process: JSON lines in, JSON lines out.
// A subset of what `peernet node --json` speaks; README.md lists it.

console.log = console.info = console.warn = console.error; // stdout is kept for JSON lines
process.noDeprecation = true; // js2p uses `new Buffer`

const fs = require('fs');
const net = require('net');
const { createRequire } = require('module');
const path = require('path');
const readline = require('readline');
const { parseArgs } = require('util');

let js2pPath;
try {
    js2pPath = require.resolve('js2p');
} catch {
    console.error('js2p_node: js2p is not where node looks: set NODE_PATH to DIR/node/node_modules of `setup DIR`');
    process.exit(1);
}
const js2p = require(js2pPath);
const js2pRequire = createRequire(js2pPath);
const msgpack = js2pRequire('msgpack-lite');
const { Int64BE, Uint64BE } = createRequire(js2pRequire.resolve('msgpack-lite'))('int64-buffer');

const { base, mesh, sync } = js2p;
const { flags } = base;

const POLL = 20;
const FIRST_CONNECT_DELAY = 300;
const CONNECT_TIMEOUT = 5000;
const DRAIN_TIMEOUT = 2000;
const REPLIES_KEPT = 1024;
const CODES = { zlib: flags.zlib, gzip: flags.gzip };

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function write(text) {
    const data = Buffer.from(text + '\n');
    for (let done = 0; done < data.length;) {
        try {
            done += fs.writeSync(1, data, done);
        } catch (err) {
            if (err.code !== 'EAGAIN') {
                process.exit(1); // nobody reads us any more
            }
        }
    }
}

const emit = (event, fields) => write(toJson({ event, ...fields }));

class CommandError extends Error {
    constructor(message, code = 'failed') {
        super(message);
        this.code = code;
    }
}

// JSON text; a Raw is JSON already

class Raw {
    constructor(text) {
        this.text = text;
    }
}

function toJson(value) {
    if (value instanceof Raw) {
        return value.text;
    }
    if (Array.isArray(value)) {
        return `[${value.map(toJson).join(',')}]`;
    }
    if (value !== null && typeof value === 'object') {
        const fields = Object.entries(value).filter(([, item]) => item !== undefined);
        return `{${fields.map(([key, item]) => `${JSON.stringify(key)}:${toJson(item)}`).join(',')}}`;
    }
    return JSON.stringify(value ?? null);
}

// Values that js2p hands up. It has one kind of number, and maps with text keys only.

function numberText(value) {
    if (!Number.isFinite(value)) {
        const bits = Buffer.alloc(8);
        bits.writeDoubleBE(value);
        return `{"$float64":"${bits.toString('hex')}"}`;
    }
    if (Object.is(value, -0)) {
        return '-0.0';
    }
    if (Number.isInteger(value) && Math.abs(value) <= 2 ** 64) {
        return Math.abs(value) <= 2 ** 53 ? String(value) : `{"$int":"${BigInt(value)}"}`;
    }
    return String(value);
}

function valueText(value) {
    if (value === null || value === undefined) {
        return 'null';
    }
    if (typeof value === 'number') {
        return numberText(value);
    }
    if (typeof value !== 'object') {
        return JSON.stringify(value);
    }
    if (ArrayBuffer.isView(value)) {
        return `{"$bin":"${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}"}`;
    }
    if (Array.isArray(value)) {
        return `[${value.map(valueText).join(',')}]`;
    }
    if (Object.getPrototypeOf(value) !== Object.prototype) {
        return toJson({ $unknown: value.constructor?.name ?? 'object' });
    }
    const entries = Object.entries(value);
    if (entries.length === 1 && entries[0][0].startsWith('$')) {
        return `{"$map":[[${JSON.stringify(entries[0][0])},${valueText(entries[0][1])}]]}`;
    }
    return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${valueText(item)}`).join(',')}}`;
}

const values = (list) => new Raw(valueText(list));

// Reading commands. JSON.parse forgets how a number was written and moves keys like "1" to the front, so numbers
// are kept as text and each key gets a mark in front before it is called.

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

class NumberText {
    constructor(text) {
        this.text = text;
    }
}

function endOfString(line, start) {
    for (let end = line.indexOf('"', start + 1); end !== -1; end = line.indexOf('"', end + 1)) {
        let backslashes = 0;
        while (line[end - 1 - backslashes] === '\\') {
            backslashes++;
        }
        if (backslashes % 2 === 0) {
            return end + 1;
        }
    }
    return line.length;
}

function mark(line) {
    const parts = [];
    for (let at = 0; at < line.length;) {
        const start = line.indexOf('"', at);
        parts.push(line.slice(at, start === -1 ? undefined : start).replace(NUMBER, '{"#":"$&"}'));
        if (start === -1) {
            break;
        }
        at = endOfString(line, start);
        let next = at;
        while (/\s/.test(line.charAt(next))) {
            next++;
        }
        parts.push(line[next] === ':' ? '".' : '"', line.slice(start + 1, at));
    }
    return parts.join('');
}

function parse(line) {
    return JSON.parse(mark(line), (key, value) =>
        value !== null && typeof value === 'object' && '#' in value ? new NumberText(value['#']) : value);
}

function readCommand(line) {
    try {
        return parse(line);
    } catch (err) {
        throw new CommandError(`not JSON: ${err.message}`, 'usage');
    }
}

function unsupported(text) {
    return new CommandError(`js2p cannot send ${text}`, 'unsupported');
}

function integer(text) {
    const value = BigInt(text);
    if (BigInt.asIntN(32, value) === value) {
        return Number(value);
    }
    const bytes = Buffer.alloc(8);
    if (value === BigInt.asUintN(64, value)) {
        bytes.writeBigUInt64BE(value);
        return new Uint64BE(bytes);
    }
    if (value === BigInt.asIntN(64, value)) {
        bytes.writeBigInt64BE(value);
        return new Int64BE(bytes);
    }
    throw unsupported(`the integer ${text}`);
}

function float(bits) {
    if (bits.length !== 8) {
        throw new CommandError(`not a float64: ${bits.toString('hex')}`, 'usage');
    }
    const value = bits.readDoubleBE();
    if (!msgpack.encode(value).equals(Buffer.concat([Buffer.from([0xcb]), bits]))) {
        throw unsupported(`the float64 ${bits.toString('hex')} as such`);
    }
    return value;
}

function hexBytes(text) {
    if (!/^([0-9a-fA-F]{2})*$/.test(text)) {
        throw new CommandError(`not hex: ${text}`, 'usage');
    }
    return Buffer.from(text, 'hex');
}

function fromParsed(value) {
    if (value instanceof NumberText) {
        if (/^-?\d+$/.test(value.text)) {
            return integer(value.text);
        }
        const bits = Buffer.alloc(8);
        bits.writeDoubleBE(Number(value.text));
        return float(bits);
    }
    if (Array.isArray(value)) {
        return value.map(fromParsed);
    }
    if (value === null || typeof value !== 'object') {
        return value;
    }
    const keys = Object.keys(value);
    if (keys.length === 1 && keys[0].startsWith('.$')) {
        const inner = value[keys[0]];
        switch (keys[0]) {
        case '.$bin': return hexBytes(inner);
        case '.$int': return integer(inner);
        case '.$float64': return float(hexBytes(inner));
        case '.$map': return map(inner.map(([key, item]) => [fromParsed(key), fromParsed(item)]));
        default: throw new CommandError(`unknown form of value: ${keys[0].slice(1)}`, 'usage');
        }
    }
    return map(keys.map((key) => [key.slice(1), fromParsed(value[key])]));
}

function map(pairs) {
    const result = {};
    for (const [key, item] of pairs) {
        if (typeof key !== 'string') {
            throw unsupported('a map with a key that is not text');
        }
        Object.defineProperty(result, key, { value: item, enumerable: true, configurable: true, writable: true });
    }
    if (Object.keys(result).join('\0') !== pairs.map(([key]) => key).join('\0')) {
        throw unsupported('these keys in this order');
    }
    return result;
}

// The node

const addressText = (addr) => `${addr[0]}:${addr[1]}`;

function splitAddress(address) {
    const match = /^(?:[^@]*@)?(.+):(\d+)$/.exec(address);
    if (!match) {
        throw new CommandError(`not an address, host:port is wanted: ${address}`, 'usage');
    }
    return [match[1], Number(match[2])];
}

let sent = null; // what js2p sends while a call of ours runs

function recordSent() {
    const real = base.BaseConnection.prototype.send_InternalMessage;
    base.BaseConnection.prototype.send_InternalMessage = function (msg) {
        const result = real.call(this, msg);
        sent?.push({ code: msg.payload[0], id: msg.id.toString('hex') });
        return result;
    };
}

function sentBy(call) {
    sent = [];
    try {
        call();
        return sent;
    } finally {
        sent = null;
    }
}

class Node {
    constructor(sock, host, port) {
        this.sock = sock;
        this.started = Date.now();
        this.known = new Map();
        this.messages = new Map();
        emit('listening', { address: `${host}:${port}`, id: String(sock.id), protocol: String(sock.protocol.id) });
        sock.on('message', () => this.look());
        this.timer = setInterval(() => this.look(), POLL);
    }

    neighbours() {
        const result = new Map();
        for (const [key, conn] of this.sock.routing_table) {
            if (conn.addr) {
                result.set(String(key), conn);
            }
        }
        return result;
    }

    look() {
        const now = new Map([...this.neighbours()].map(([peer, conn]) => [peer, addressText(conn.addr)]));
        const before = this.known;
        this.known = now;
        for (const [peer, address] of now) {
            if (!before.has(peer)) {
                emit('connected', { peer, address });
            }
        }
        for (let msg = this.sock.recv(); msg; msg = this.sock.recv()) {
            this.deliver(msg);
        }
        for (const peer of before.keys()) {
            if (!now.has(peer)) {
                emit('disconnected', { peer });
            }
        }
    }

    deliver(msg) {
        const id = msg.id.toString('hex');
        this.messages.delete(id);
        this.messages.set(id, msg);
        if (this.messages.size > REPLIES_KEPT) {
            this.messages.delete(this.messages.keys().next().value);
        }
        const [code, ...payload] = msg.packets;
        if (code === flags.store) {
            return; // a pair that js2p has already, which it takes for a message
        }
        emit('message', {
            kind: code === flags.broadcast ? 'broadcast' : 'whisper',
            id,
            sender: String(msg.sender),
            time: values(msg.time),
            payload: values(payload),
        });
    }

    // Its TCP connections; a WebSocket wraps one.
    links() {
        return [...this.sock.routing_table.values()].map((conn) => conn.sock.socket ?? conn.sock);
    }

    neighbour(peer) {
        const conn = this.neighbours().get(peer);
        if (!conn) {
            throw new CommandError(`not a neighbour: ${peer}`, 'unreachable');
        }
        return conn;
    }

    async connect(address) {
        const [host, port] = splitAddress(address);
        await sleep(this.started + FIRST_CONNECT_DELAY - Date.now());
        const waiting = new Set(this.sock.awaiting_ids);
        if (this.sock.connect(host, port) !== undefined) {
            throw new CommandError(
                `js2p will not dial its own address, nor a neighbour's host or port: ${address}`, 'refused');
        }
        const conn = this.sock.awaiting_ids.find((item) => !waiting.has(item));
        const deadline = Date.now() + CONNECT_TIMEOUT;
        while (Date.now() < deadline) {
            if (conn.addr) {
                this.look();
                return { peer: String(conn.id) };
            }
            if (conn.sock.destroyed || conn.sock.readyState === conn.sock.CLOSED) {
                throw new CommandError(`the link ended before the handshake: ${address}`, 'refused');
            }
            await sleep(POLL);
        }
        throw new CommandError(`no handshake within ${CONNECT_TIMEOUT / 1000} s: ${address}`, 'timeout');
    }

    broadcast(payload) {
        const ids = sentBy(() => this.sock.send(payload)).map(({ id }) => id);
        const distinct = [...new Set(ids)];
        return { id: ids[0] ?? null, links: ids.length, ids: distinct.length > 1 ? distinct : undefined };
    }

    reply(to, payload) {
        const msg = this.messages.get(to);
        if (!msg) {
            throw new CommandError(`no such message to reply to: ${to}`, 'unknown');
        }
        const whisper = sentBy(() => msg.reply(payload)).find(({ code }) => code === flags.whisper);
        return { id: whisper?.id ?? null };
    }

    whisper(conn, type, packets) {
        const [message] = sentBy(() => conn.send(type, packets));
        if (!message) {
            throw new CommandError('js2p could not write to this peer', 'unreachable');
        }
        return { id: message.id };
    }

    async run(command) {
        const field = (name) => command[`.${name}`];
        const payload = field('payload') === undefined ? [] : fromParsed(field('payload'));
        switch (field('do')) {
        case 'connect': return this.connect(field('address'));
        case 'peers': return [...this.neighbours()].map(([id, conn]) => ({ id, address: addressText(conn.addr) }));
        case 'broadcast': return this.broadcast(payload);
        case 'send': return this.whisper(this.neighbour(field('peer')), flags.whisper, [flags.whisper, ...payload]);
        case 'reply': return this.reply(field('to'), payload);
        case 'raw': return this.whisper(this.neighbour(field('peer')), fromParsed(field('type')), payload);
        case 'break': return this.links().forEach((link) => link.destroy());
        case 'status': return Array.isArray(this.sock.status) ? this.sock.status.map(describe) : this.sock.status;
        case 'set': case 'get': case 'delta': case 'delete': case 'keys': return this.table(command);
        case 'close': return this.leave();
        default: throw new CommandError(`this node does not offer: ${field('do')}`, 'usage');
        }
    }

    // Runs one command on a table, under js2p's own rules.
    table(command) {
        const what = command['.do'];
        if (what === 'keys') {
            return [...this.sock.keys()];
        }
        const key = fromParsed(command['.key']);
        if (what === 'get') {
            return values(this.sock.get(key, null));
        }
        try {
            if (what === 'set') {
                this.sock.set(key, fromParsed(command['.value']));
            } else if (what === 'delta') {
                this.sock.apply_delta(key, fromParsed(command['.value']));
            } else {
                this.sock.del(key);
            }
        } catch (err) {
            throw new CommandError(err.message, /permission/.test(err.message) ? 'lease' : 'failed');
        }
        return null;
    }

    // Runs one command; says whether to go on.
    async answer(line) {
        let ref;
        try {
            const command = readCommand(line);
            if (command === null || typeof command !== 'object' || Array.isArray(command)) {
                throw new CommandError('a command is a JSON object', 'usage');
            }
            ref = JSON.parse(line).ref;
            const value = await this.run(command);
            emit('result', { ref, value: value ?? null });
            return command['.do'] !== 'close';
        } catch (err) {
            const error = err instanceof CommandError ? err.message : `${err.name}: ${err.message}`;
            emit('error', { ref, error, code: err instanceof CommandError ? err.code : 'failed' });
            return true;
        }
    }

    // js2p's close throws away what is not yet written, so that goes out first.
    async leave() {
        clearInterval(this.timer);
        this.sock.removeAllListeners('message');
        const links = this.links();
        const deadline = Date.now() + DRAIN_TIMEOUT;
        while (links.some((link) => !link.destroyed && link.writableLength) && Date.now() < deadline) {
            await sleep(1);
        }
        this.sock.close();
        await sleep(POLL);
    }
}

const describe = (err) => String(err?.stack ?? err ?? 'error without a text');

function freePort(host) {
    return new Promise((resolve, reject) => {
        const probe = net.createServer().on('error', reject);
        probe.listen(0, host, () => {
            const { port } = probe.address();
            probe.close(() => resolve(port));
        });
    });
}

function usage(text) {
    console.error(`js2p_node: ${text}`);
    console.error(`usage: node ${path.basename(__filename)} HOST PORT [--network mesh|sync] [--no-leases] ` +
        '[--subnet NAME] [--encryption Plaintext|SSL|ws] [--connect HOST:PORT]... [--advertise HOST:PORT] ' +
        '[--compression none|zlib|gzip]');
    process.exit(2);
}

function options() {
    try {
        const { values: given, positionals } = parseArgs({
            allowPositionals: true,
            options: {
                network: { type: 'string', default: 'mesh' },
                subnet: { type: 'string' },
                'no-leases': { type: 'boolean', default: false },
                encryption: { type: 'string', default: 'Plaintext' },
                connect: { type: 'string', multiple: true, default: [] },
                advertise: { type: 'string' },
                compression: { type: 'string' },
            },
        });
        return { ...given, host: positionals[0], port: positionals[1], count: positionals.length };
    } catch (err) {
        return usage(err.message);
    }
}

function fail(text) {
    console.error(`js2p_node: ${text}`);
    process.exit(1);
}

async function main() {
    const given = options();
    if (given.count !== 2 || !/^\d{1,5}$/.test(given.port) || Number(given.port) > 65535) {
        usage('HOST and PORT are wanted');
    }
    if (!['mesh', 'sync'].includes(given.network)) {
        usage(`unknown network: ${given.network}`);
    }
    if (!['Plaintext', 'SSL', 'ws'].includes(given.encryption)) {
        usage(`unknown encryption: ${given.encryption}`);
    }
    if (given.compression !== undefined) {
        if (given.compression !== 'none' && !(given.compression in CODES)) {
            usage(`unknown compression: ${given.compression}`);
        }
        const wanted = given.compression === 'none' ? [] : [CODES[given.compression]];
        if (wanted.some((code) => !base.compression.includes(code))) {
            usage(`this js2p could not load ${given.compression}`);
        }
        base.compression.splice(0, base.compression.length, ...wanted);
    }
    recordSent();
    const { host } = given;
    const port = Number(given.port) || await freePort(host).catch((err) => fail(err.message));
    const advertise = given.advertise && splitAddress(given.advertise);
    const protocol = new base.Protocol(given.subnet ?? given.network, given.encryption);
    const sock = given.network === 'sync'
        ? new sync.SyncSocket(host, port, protocol, !given['no-leases'], advertise)
        : new mesh.MeshSocket(host, port, protocol, advertise);
    sock.incoming.on('error', (err) => fail(`cannot listen on ${host}:${port}: ${err.message}`));
    const server = sock.incoming.socket ?? sock.incoming; // a WebSocket server wraps one of net
    if (!server.listening) {
        await new Promise((resolve) => server.once('listening', resolve));
    }
    const node = new Node(sock, host, port);

    process.on('uncaughtException', (err) => {
        emit('error', { error: `js2p threw where nothing catches: ${describe(err)}`, code: 'dead' });
        process.exit(1);
    });
    for (const address of given.connect) {
        await node.connect(address).catch((err) =>
            emit('error', { error: `${address}: ${err.message}`, code: err.code ?? 'failed' }));
    }
    for await (const line of readline.createInterface({ input: process.stdin })) {
        if (line.trim() && !await node.answer(line)) {
            process.exit(0);
        }
    }
    node.look();
    await node.leave();
    process.exit(0);
}

main();
