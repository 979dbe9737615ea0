const NOBODY = 65_534;

/**
 * Does something with the rights of nobody, when this process is root's, for whom no file is read-only. The whole
 * process has them meanwhile.
 */
export async function asNobody(work: () => Promise<void>): Promise<void> {
  if (process.geteuid?.() !== 0) {
    await work();
    return;
  }
  process.seteuid?.(NOBODY);
  try {
    await work();
  } finally {
    process.seteuid?.(0);
  }
}
