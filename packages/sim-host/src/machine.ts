import { createHash } from "node:crypto";
import { UnmodelledError } from "./failure.ts";
import type { ContentDoc, KernelDoc, MachineDoc, Model } from "./model.ts";

/** A machine and the world around it, as the simulated tools see them. Holds no state of its own. */
export class Machine {
  readonly name: string;
  readonly model: Model;
  readonly now: () => number;

  constructor(name: string, model: Model, now: () => number) {
    this.name = name;
    this.model = model;
    this.now = now;
  }

  /** Key of something of this machine. */
  at(path: string): string {
    return `${this.name}/${path}`;
  }

  get facts(): MachineDoc {
    const facts = this.model.machines.get(this.name);
    if (facts === undefined) throw new UnmodelledError(`a machine called ${this.name}`);
    return facts;
  }

  editKernel(): KernelDoc {
    const kernel = this.model.kernels.edit(this.name);
    if (kernel === undefined) throw new UnmodelledError(`a machine called ${this.name}`);
    return kernel;
  }

  hasModule(module: string): boolean {
    return this.model.kernels.get(this.name)?.modules.includes(module) === true;
  }

  loadModules(...modules: readonly string[]): void {
    for (const module of modules) {
      if (!this.hasModule(module)) this.editKernel().modules.push(module);
    }
  }

  /** The machine that this one reaches at an address over the storage network. */
  peerAt(address: string): Machine | undefined {
    const found = this.model.machineByAddress.get(address)?.machine;
    return found !== undefined && this.reaches(found) ? this.peer(found) : undefined;
  }

  peer(name: string): Machine {
    return new Machine(name, this.model, this.now);
  }

  reaches(peer: string): boolean {
    return this.facts.online && !this.facts.cutFrom.includes(peer) && this.model.machines.get(peer)?.online === true;
  }

  /** The content id of the disk the machine boots from. */
  get rootContent(): string {
    return `root-${this.name}`;
  }

  newContent(content: ContentDoc): string {
    const id = `c${this.model.next("content")}`;
    this.model.contents.put(id, content);
    return id;
  }

  /** A 64-bit id that is unique in this world, and the same when the world is made the same way again. */
  newGuid(): string {
    const digest = createHash("sha256").update(`guid ${this.model.next("guid")}`).digest();
    return digest.readBigUInt64BE(0).toString();
  }

  seconds(): number {
    return Math.floor(this.now() / 1000);
  }
}
