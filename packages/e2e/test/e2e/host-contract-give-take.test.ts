import { giveAndTake } from "../../src/host-contract/give-take.ts";
import { hostContract } from "../../src/host-contract/suite.ts";

hostContract("give and take", () => giveAndTake("contract"));
