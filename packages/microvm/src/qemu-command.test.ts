import { describe, expect, it } from "vitest";
import { qemuCommand, savedStateKey, type VmPlan } from "./qemu-command.ts";
import { assertSocketPath } from "./vm.ts";

const plan: VmPlan = {
  role: "give",
  acceleration: "tcg",
  cpus: 1,
  kernel: "/cache/vmlinuz",
  initrd: "/cache/initrd.img",
  sshPort: 9000,
};

function valuesOf(argv: readonly string[], option: string): readonly string[] {
  return argv.flatMap((word, index) => (word === option ? [argv[index + 1] ?? ""] : []));
}

describe("qemuCommand", () => {
  it("forwards one loopback port to ssh and lets the guest out nowhere", () => {
    const [login] = valuesOf(qemuCommand(plan), "-netdev");
    expect(login).toBe("user,id=login,restrict=on,hostfwd=tcp:127.0.0.1:9000-:22");
  });

  it("joins the two machines and nothing else", () => {
    const storage = (role: "give" | "take"): string => valuesOf(qemuCommand({ ...plan, role }), "-netdev")[1] ?? "";
    expect(storage("give")).toContain("local.path=give.net,remote.type=unix,remote.path=take.net");
    expect(storage("take")).toContain("local.path=take.net,remote.type=unix,remote.path=give.net");
  });

  it("gives a data disk to give alone", () => {
    expect(valuesOf(qemuCommand(plan), "-drive")).toHaveLength(2);
    expect(valuesOf(qemuCommand({ ...plan, role: "take" }), "-drive")).toHaveLength(1);
  });

  it("keeps every disk as qcow2, which alone can hold a saved state", () => {
    for (const drive of valuesOf(qemuCommand(plan), "-drive")) expect(drive).toContain("format=qcow2");
  });

  it("starts from a saved state with otherwise the same words", () => {
    expect(qemuCommand({ ...plan, loadState: "ready" })).toEqual([...qemuCommand(plan), "-loadvm", "ready"]);
  });

  it.each([
    ["tcg", "tcg,thread=multi"],
    ["kvm", "kvm"],
  ] as const)("with %s", (acceleration, words) => {
    expect(valuesOf(qemuCommand({ ...plan, acceleration }), "-accel")).toEqual([words]);
  });
});

describe("assertSocketPath", () => {
  it("refuses what the kernel would cut off", () => {
    expect(() => {
      assertSocketPath(`/${"x".repeat(106)}`);
    }).not.toThrow();
    expect(() => {
      assertSocketPath(`/${"x".repeat(107)}`);
    }).toThrow("make the socket");
  });
});

describe("savedStateKey", () => {
  const key = savedStateKey("image", "QEMU 7.2", plan);

  it("does not depend on ports and paths", () => {
    const moved = { ...plan, sshPort: 1, kernel: "/k", initrd: "/i" };
    expect(savedStateKey("image", "QEMU 7.2", moved)).toBe(key);
  });

  it.each([
    ["image", savedStateKey("other", "QEMU 7.2", plan)],
    ["QEMU", savedStateKey("image", "QEMU 10.0", plan)],
    ["acceleration", savedStateKey("image", "QEMU 7.2", { ...plan, acceleration: "kvm" })],
    ["processors", savedStateKey("image", "QEMU 7.2", { ...plan, cpus: 2 })],
  ])("changes with the %s", (_what, other) => {
    expect(other).not.toBe(key);
  });
});
