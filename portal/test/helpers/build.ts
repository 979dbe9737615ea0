import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Builds the program once per run: some tests start it as a process of its own. */
export default function build(): void {
  execFileSync("npm", ["run", "--silent", "build"], {
    cwd: fileURLToPath(new URL("../..", import.meta.url)),
    stdio: ["ignore", "inherit", "inherit"],
  });
}
