import { readFileSync } from "node:fs";

import { SETTINGS, type Setting, type Variable } from "./settings.js";

/** The environment, as `process.env` has it. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Reads variables one by one and collects what is wrong with any of them. */
export class Reader {
  /** One line per mistake. */
  readonly problems: string[] = [];
  readonly #environment: Environment;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  /** The text of a variable, or its default. An empty text counts as not set. */
  text(variable: Variable): string | undefined {
    const setting: Setting = SETTINGS[variable];
    const text = this.#environment[variable];
    return text === undefined || text === "" ? setting.fallback : text;
  }

  /** The value of a variable; `undefined` when it is not set or wrong. */
  value<Value>(variable: Variable, parse: (text: string) => Value): Value | undefined {
    const text = this.text(variable);
    return text === undefined ? undefined : this.attempt(variable, () => parse(text));
  }

  /** The value of a variable, or of the file that `{variable}_FILE` names. Both at once are a mistake. */
  valueOrFile<Value>(variable: Variable, fileVariable: Variable, parse: (text: string) => Value): Value | undefined {
    const file = this.text(fileVariable);
    if (file === undefined) {
      return this.value(variable, parse);
    }
    if (this.text(variable) !== undefined) {
      this.problems.push(`${variable} and ${fileVariable} are both set: keep one of them`);
      return undefined;
    }
    return this.attempt(fileVariable, () => parse(fileText(file).replace(/\r?\n$/, "")));
  }

  /** The text of the file that a variable names. */
  file(variable: Variable): string | undefined {
    return this.value(variable, fileText);
  }

  /** Runs `work`; what it throws becomes a problem of the variable. */
  attempt<Value>(variable: Variable, work: () => Value): Value | undefined {
    try {
      return work();
    } catch (error) {
      this.problems.push(`${variable} ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  }
}

function fileText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "unknown error";
    throw new Error(`names ${path}, which cannot be read (${code}): correct the path or the permissions`, {
      cause: error,
    });
  }
}
