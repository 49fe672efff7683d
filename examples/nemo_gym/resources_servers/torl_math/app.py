"""What NeMo-Gym starts for `torl_math`."""

from torl_env.adapters.nemo_gym import ToRLResourcesServer

if __name__ == "__main__":
    ToRLResourcesServer.run_webserver()
