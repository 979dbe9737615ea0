// The portal's health check: asks where the portal listens, and ends with 0 when it is well.
const listen = process.env.PORTAL_LISTEN || '127.0.0.1:3000';
const colon = listen.lastIndexOf(':');
// A portal that listens on all addresses is asked on loopback.
const host = { '0.0.0.0': '127.0.0.1', '[::]': '[::1]' }[listen.slice(0, colon)] ?? listen.slice(0, colon);
const url = `http://${host}${listen.slice(colon)}/api/health`;
try {
  const answer = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(10_000) });
  await answer.arrayBuffer();
  if (!answer.ok) throw new Error(`it answered ${answer.status}`);
} catch (error) {
  console.error(`not healthy: ${url}: ${error.cause?.message ?? error.message}`);
  process.exitCode = 1;
}
