// Dropped pictures, kept in the browser so that a reload, or a server that has forgotten them, loses nothing.

const DATABASE = "tapetum-studio";

function opened(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const asked = indexedDB.open(DATABASE, 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore("files");
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
}

async function within<T>(mode: IDBTransactionMode, work: (files: IDBObjectStore) => IDBRequest<T>): Promise<T | undefined> {
  try {
    const database = await opened();
    return await new Promise<T>((resolve, reject) => {
      const asked = work(database.transaction("files", mode).objectStore("files"));
      asked.onsuccess = () => resolve(asked.result);
      asked.onerror = () => reject(asked.error);
    });
  } catch {
    return undefined; // private windows may forbid it: the pictures then last as long as the server keeps them
  }
}

export interface KeptFile {
  file: Blob;
  name: string;
  thumbnail: string;
  width: number;
  height: number;
}

export const keepFile = (id: string, kept: KeptFile) => within("readwrite", (files) => files.put(kept, id));
export const keptFile = (id: string) =>
  within<KeptFile | undefined>("readonly", (files) => files.get(id) as IDBRequest<KeptFile | undefined>);
export const dropFile = (id: string) => within("readwrite", (files) => files.delete(id));
export const keptIds = async () => ((await within("readonly", (files) => files.getAllKeys())) ?? []) as string[];
