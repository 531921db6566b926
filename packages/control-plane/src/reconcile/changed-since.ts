/**
 * Whether a row was written after a look began, so that the look says nothing of it. A time that has not come yet is from a clock
 * that was ahead: such a row would otherwise be left alone until that time.
 */
export function isChangedSince({ updatedAt }: { readonly updatedAt: Date }, began: Date): boolean {
  return updatedAt >= began && updatedAt <= new Date();
}
