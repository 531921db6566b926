import { simulatedWorld } from "../../src/host-contract/simulated.ts";
import { hostContract } from "../../src/host-contract/suite.ts";

hostContract("simulated machines", simulatedWorld);
