type Around = (method: string, call: () => Promise<unknown>) => Promise<unknown>;

/**
 * The life of one process. Everything it can do to the world goes through `mortal` objects; once it has ended, their calls
 * neither act nor return, as nothing of a process goes on after SIGKILL. What was under way may or may not have its effect.
 */
export class Life {
  #ended = false;

  end(): void {
    this.#ended = true;
  }

  get ended(): boolean {
    return this.#ended;
  }

  mortal<T extends object>(object: T, around: Around = (_method, call) => call()): T {
    return new Proxy(object, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        return (...parameters: unknown[]): unknown => {
          // The system lets go of what a process held.
          if (name === "close") return Reflect.apply(value, target, parameters) as unknown;
          if (this.#ended) return never();
          const call = (): unknown => Reflect.apply(value, target, parameters) as unknown;
          const asynchronous = (): Promise<unknown> => (this.#ended ? never() : (call() as Promise<unknown>));
          const result = name === "each" ? call() : around(String(name), asynchronous);
          return result instanceof Promise ? this.#whileAlive(result) : result;
        };
      },
    });
  }

  async #whileAlive(work: Promise<unknown>): Promise<unknown> {
    try {
      const value = await work;
      return this.#ended ? await never() : value;
    } catch (error) {
      if (this.#ended) return never();
      throw error;
    }
  }
}

function never(): Promise<never> {
  return new Promise(() => undefined);
}
