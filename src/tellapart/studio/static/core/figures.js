// The figures of a model: their names, which of them are shares, and how they and their intervals are written.
import { h } from "./dom.js";
import { percent, range } from "/shared/curves.js";

const SHARES = {
  sensitivity: "Sensitivity", specificity: "Specificity", ppv: "PPV", npv: "NPV", accuracy: "Accuracy",
  balanced_accuracy: "Balanced accuracy", precision: "Precision", recall: "Recall",
};
const OTHERS = {
  roc_auc_macro: "ROC AUC", average_precision_macro: "Average precision", mcc: "Matthews’ coefficient", f1: "F1",
  roc_auc: "ROC AUC", lr_positive: "Likelihood ratio +", lr_negative: "Likelihood ratio −", log_loss: "Log loss",
  brier: "Brier score", ece: "Calibration error",
};

/** Every figure that has a name, those first that are shares. */
export const FIGURES = { ...SHARES, ...OTHERS };
const isShare = (name) => name in SHARES;
export const LESS_IS_BETTER = ["log_loss", "brier", "ece"];
/** A figure's value, such as "84.6 %" or "0.715". */
export const valueOf = (name, value) =>
  (value == null ? "not defined" : isShare(name) ? percent(value) : value.toFixed(3));
/** Its interval, such as "80.1 to 88.2 %". */
export const boundsOf = (name, ci95) =>
  (!ci95 ? "no interval" : isShare(name) ? range(ci95) : ci95.map((end) => end.toFixed(3)).join(" to "));

/** How one changed: "+3.1 points" of a share, "−0.021" of another. */
export function changeOf(name, value) {
  if (value == null) return "not defined";
  const sign = value > 0 ? "+" : value < 0 ? "−" : "±";
  return isShare(name) ? `${sign}${Math.abs(100 * value).toFixed(1)} points` : `${sign}${Math.abs(value).toFixed(3)}`;
}

/** Value and interval, for a cell of a table. */
export const estimated = (name, { value, ci95 }) => [valueOf(name, value), h("small", boundsOf(name, ci95))];
