/* Loaded before torch (LD_PRELOAD), it lets MKL take the kernels that it takes on an Intel processor with the same
   instructions: on others it asks who made the processor, and takes slower ones that sum in another order. For tests alone. */
int mkl_serv_intel_cpu(void) { return 1; }
int mkl_serv_intel_cpu_true(void) { return 1; }
int mkl_serv_cpuiszen(void) { return 0; }
