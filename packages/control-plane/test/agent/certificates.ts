import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/** A certificate authority of a test's own, in a directory. Needs openssl. */
export async function authority(directory: string, name: string) {
  const file = (suffix: string): string => join(directory, `${name}.${suffix}`);
  await run("openssl", ["req", "-x509", ...newKey, "-keyout", file("key"), "-out", file("pem"), "-subj", `/CN=${name}`, "-days", "2"]);
  return {
    caFile: file("pem"),
    async issue(leaf: string) {
      const at = (suffix: string): string => join(directory, `${leaf}.${suffix}`);
      await writeFile(at("ext"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
      await run("openssl", ["req", ...newKey, "-keyout", at("key"), "-out", at("csr"), "-subj", `/CN=${leaf}`]);
      await run("openssl", [
        ...["x509", "-req", "-in", at("csr"), "-CA", file("pem"), "-CAkey", file("key"), "-CAcreateserial"],
        ...["-days", "2", "-extfile", at("ext"), "-out", at("pem")],
      ]);
      return { certFile: at("pem"), keyFile: at("key") };
    },
  };
}
