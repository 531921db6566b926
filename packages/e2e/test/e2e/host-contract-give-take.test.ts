import { giveAndTake } from "../../src/host-contract/give-take.ts";
import { hostContract } from "../../src/host-contract/suite.ts";

hostContract("give and take, through their agents", () => giveAndTake("contract"));
